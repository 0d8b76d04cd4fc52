package config

import "slices"

// Defaults that other packages and the documentation refer to.
const (
	DefaultConfigFile     = "/etc/kedge/config.yaml"
	DefaultKubeconfig     = "/etc/kedge/kubeconfig.yaml"
	DefaultRegistriesFile = "/etc/kedge/registries.yaml"

	// PrimaryAddresses in --nodeport-addresses are the node's own ones.
	PrimaryAddresses = "primary"
	// SchedulerAnnotation of a Service names its IPVS scheduler.
	SchedulerAnnotation = "kedge.io/proxy-scheduler"
)

// Parts are the names that --disable knows.
func Parts() []string {
	return []string{"coredns"}
}

// table is the one list of options. The order is that of the help text.
func table() []Option {
	return slices.Concat(generalOptions(), nodeOptions(), joinOptions(), apiOptions(), networkOptions(), componentOptions())
}

func generalOptions() []Option {
	both := []Role{RoleServer, RoleAgent}
	return []Option{
		{
			Name: "config", Default: DefaultConfigFile, Meta: "FILE", Roles: both, Outside: true,
			Help:  "configuration file; the files in the directory FILE.d are read after it",
			field: func(c *Config) any { return &c.ConfigFile },
		},
		{
			Name: "data-dir", Default: DefaultDataDir, Meta: "DIR", Roles: both,
			Help:  "directory that holds everything kedge writes; an absolute path",
			field: func(c *Config) any { return &c.Layout.DataDir },
		},
		{
			Name: "log-level", Default: "info", Meta: "LEVEL", Roles: both, OneOf: []string{"debug", "info", "warn", "error"},
			Help:  "least important messages that are logged",
			field: func(c *Config) any { return &c.LogLevel },
		},
		{
			Name: "log-format", Default: "text", Meta: "FORMAT", Roles: both, OneOf: []string{"text", "json"},
			Help:  "form of a line of the log",
			field: func(c *Config) any { return &c.LogFormat },
		},
	}
}

func nodeOptions() []Option {
	both := []Role{RoleServer, RoleAgent}
	return []Option{
		{
			Name: "node-name", Derived: "the host name in lower case", Meta: "NAME", Roles: both,
			Help:  "name of this node in the cluster; a DNS name",
			field: func(c *Config) any { return &c.NodeName },
		},
		{
			Name: "node-ip", Derived: "the source address of the default route, else the first address of a network link", Meta: "IP", Roles: both,
			Help:  "address of this node, one for each IP family",
			field: func(c *Config) any { return &c.NodeIPs },
		},
		{
			Name: "node-label", Meta: "KEY=VALUE", Roles: both,
			Help:  "label that the node gets when it registers",
			field: func(c *Config) any { return &c.NodeLabels },
		},
		{
			Name: "node-taint", Meta: "KEY=VALUE:EFFECT", Roles: both,
			Help:  "taint that the node gets when it registers",
			field: func(c *Config) any { return &c.NodeTaints },
		},
		{
			Name: "registries-config", Default: DefaultRegistriesFile, Meta: "FILE", Roles: both,
			Help:  "file with mirrors, credentials and TLS settings of image registries; need not exist",
			field: func(c *Config) any { return &c.RegistriesFile },
		},
	}
}

func joinOptions() []Option {
	both := []Role{RoleServer, RoleAgent}
	return []Option{
		{
			Name: "server", Meta: "URL", Roles: both,
			Help:  "server of the cluster to join, such as https://10.0.0.1:6443; needed once",
			field: func(c *Config) any { return &c.Server },
		},
		{
			Name: "token", Meta: "TOKEN", Roles: both, Secret: true,
			Help:  "token that allows this machine to join",
			field: func(c *Config) any { return &c.Token },
		},
		{
			Name: "token-file", Meta: "FILE", Roles: both,
			Help:  "file that holds the token; not together with --token",
			field: func(c *Config) any { return &c.TokenFile },
		},
		{
			Name: "cluster-reset", Default: "false", Roles: []Role{RoleServer}, Outside: true,
			Help:  "make a cluster of this server alone, with the data that it has, and end: for when too many servers are lost for ever",
			field: func(c *Config) any { return &c.ClusterReset },
		},
	}
}

func apiOptions() []Option {
	server := []Role{RoleServer}
	return []Option{
		{
			Name: "tls-san", Meta: "NAME", Roles: server,
			Help:  "further DNS name or IP address in the API server's certificate",
			field: func(c *Config) any { return &c.TLSSANs },
		},
		{
			Name: "bind-address", Derived: "all addresses", Meta: "IP", Roles: server,
			Help:  "address on which the API server listens",
			field: func(c *Config) any { return &c.BindAddress },
		},
		{
			Name: "https-listen-port", Default: "6443", Meta: "PORT", Roles: server,
			Help:  "TCP port on which the API server listens, 1 to 65535",
			field: func(c *Config) any { return &c.HTTPSListenPort },
		},
		{
			Name: "advertise-address", Derived: "the first --node-ip", Meta: "IP", Roles: server,
			Help:  "address at which pods and other machines reach the API server",
			field: func(c *Config) any { return &c.AdvertiseAddress },
		},
		{
			Name: "write-kubeconfig", Default: DefaultKubeconfig, Meta: "FILE", Roles: server,
			Help:  "where the administrator's kubeconfig is written, also with another --data-dir",
			field: func(c *Config) any { return &c.WriteKubeconfig },
		},
		{
			Name: "write-kubeconfig-mode", Default: "0600", Meta: "MODE", Roles: server,
			Help:  "permissions of the kubeconfig, octal",
			field: func(c *Config) any { return &c.WriteKubeconfigMode },
		},
		{
			Name: "datastore-endpoint", Derived: "the embedded etcd", Meta: "URL", Roles: server,
			Help:  "database that holds the cluster's state; not in this version",
			field: func(c *Config) any { return &c.DatastoreEndpoint },
		},
	}
}
