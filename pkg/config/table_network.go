package config

func networkOptions() []Option {
	both := []Role{RoleServer, RoleAgent}
	return []Option{
		{
			Name: "cluster-cidr", Default: "10.42.0.0/16", Meta: "CIDR", Roles: both, Shared: true,
			Help:  "addresses of pods, one network for each IP family; each node gets a /24 (IPv4) or /64 (IPv6) of it",
			field: func(c *Config) any { return &c.ClusterCIDRs },
		},
		{
			Name: "service-cidr", Default: "10.43.0.0/16", Meta: "CIDR", Roles: both, Shared: true,
			Help:  "addresses of services, one network for each IP family",
			field: func(c *Config) any { return &c.ServiceCIDRs },
		},
		{
			Name: "cluster-dns", Derived: "the tenth address of --service-cidr, 10.43.0.10", Meta: "IP", Roles: both, Shared: true,
			Help:  "address of the cluster's DNS service",
			field: func(c *Config) any { return &c.ClusterDNS },
		},
		{
			Name: "cluster-domain", Default: "cluster.local", Meta: "NAME", Roles: both, Shared: true,
			Help:  "DNS domain of the cluster",
			field: func(c *Config) any { return &c.ClusterDomain },
		},
		{
			Name: "overlay-backend", Default: "vxlan", Meta: "BACKEND", Roles: both, Shared: true, OneOf: []string{"vxlan", "host-gw", "none"},
			Help:  "how pods of different nodes reach each other",
			field: func(c *Config) any { return &c.OverlayBackend },
		},
		{
			Name: "proxy-mode", Default: "auto", Meta: "MODE", Roles: both, OneOf: []string{"auto", "ipvs", "nftables", "none"},
			Help:  "how service addresses are served on this node; auto is ipvs where the kernel has it",
			field: func(c *Config) any { return &c.ProxyMode },
		},
		{
			Name: "proxy-scheduler", Default: "rr", Meta: "NAME", Roles: both,
			OneOf: []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos"},
			Help:  "IPVS scheduler that chooses the endpoint of a connection; a Service's annotation " + SchedulerAnnotation + " overrides it",
			field: func(c *Config) any { return &c.ProxyScheduler },
		},
		{
			Name: "nodeport-addresses", Derived: "all addresses of the machine", Meta: "CIDR", Roles: []Role{RoleServer, RoleAgent},
			Help:  "network whose addresses answer node ports; " + PrimaryAddresses + " alone stands for --node-ip; loopback never answers",
			field: func(c *Config) any { return &c.NodePortAddresses },
		},
	}
}

func componentOptions() []Option {
	server, both := []Role{RoleServer}, []Role{RoleServer, RoleAgent}
	return []Option{
		{
			Name: "disable", Meta: "NAME", Roles: both, OneOf: Parts(),
			Help:  "part of kedge that is not started; give it on all machines",
			field: func(c *Config) any { return &c.Disable },
		},
		{
			Name: "disable-agent", Default: "false", Roles: server,
			Help:  "run the control plane only, no node on this machine",
			field: func(c *Config) any { return &c.DisableAgent },
		},
		{
			Name: "kubelet-arg", Meta: "KEY=VALUE", Roles: both,
			Help:  "further argument of the kubelet",
			field: func(c *Config) any { return &c.KubeletArgs },
		},
		{
			Name: "kube-apiserver-arg", Meta: "KEY=VALUE", Roles: server,
			Help:  "further argument of the API server",
			field: func(c *Config) any { return &c.APIServerArgs },
		},
		{
			Name: "kube-controller-manager-arg", Meta: "KEY=VALUE", Roles: server,
			Help:  "further argument of the controller manager",
			field: func(c *Config) any { return &c.ControllerManagerArgs },
		},
		{
			Name: "kube-scheduler-arg", Meta: "KEY=VALUE", Roles: server,
			Help:  "further argument of the scheduler",
			field: func(c *Config) any { return &c.SchedulerArgs },
		},
		{
			Name: "etcd-arg", Meta: "KEY=VALUE", Roles: server,
			Help:  "further argument of the embedded etcd",
			field: func(c *Config) any { return &c.EtcdArgs },
		},
	}
}
