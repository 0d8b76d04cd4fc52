package kernel

// Feature is something the kernel may have or not.
type Feature struct {
	Name      string
	Configs   []string // kernel options that switch it on
	Modules   []string // modules that bring it when it is not built in, in the order of loading
	NeededFor string
	Required  bool         // without it a node cannot run
	rule      *rule        // tried with the others in one transaction, or
	probe     func() error // called: both in a throw-away network namespace, on a locked thread
}

// Need says which features are asked for.
type Need struct {
	CgroupVersion int    // 1 or 2
	Overlay       string // --overlay-backend
	ProxyMode     string // --proxy-mode
}

// Features lists what kedge uses. What is required depends on what is asked for.
func Features(n Need) []Feature {
	all := append(processFeatures(), networkFeatures(n)...)
	all = append(all, ipvsFeatures(n)...)
	if n.CgroupVersion == 2 {
		all = append(all, Feature{Name: "BPF device control", Configs: []string{"CONFIG_CGROUP_BPF", "CONFIG_BPF_SYSCALL"},
			NeededFor: "containers' access to devices (cgroup v2)", Required: true, probe: deviceProgram})
	}
	return all
}

func processFeatures() []Feature {
	return []Feature{
		{Name: "namespaces", Configs: []string{"CONFIG_NAMESPACES", "CONFIG_NET_NS", "CONFIG_PID_NS", "CONFIG_IPC_NS", "CONFIG_UTS_NS"},
			NeededFor: "containers", Required: true, probe: namespaces("net", "pid", "ipc", "uts", "mnt", "cgroup")},
		{Name: "user namespaces", Configs: []string{"CONFIG_USER_NS"}, NeededFor: "pods with hostUsers: false", probe: userNamespaces},
		{Name: "overlayfs", Configs: []string{"CONFIG_OVERLAY_FS"}, Modules: []string{"overlay"},
			NeededFor: "containers' file systems", Required: true, probe: filesystem("overlay")},
		{Name: "mqueue", Configs: []string{"CONFIG_POSIX_MQUEUE"}, NeededFor: "containers' /dev/mqueue", Required: true, probe: filesystem("mqueue")},
		{Name: "seccomp filters", Configs: []string{"CONFIG_SECCOMP_FILTER"}, NeededFor: "pods with a seccomp profile", probe: seccomp},
	}
}

func networkFeatures(n Need) []Feature {
	const pods, masquerade, services = "pod network", "pods' way outside", "services with nftables"
	nftables := n.ProxyMode == "nftables"
	nft := func(name string, configs, modules []string, need string, required bool, r *rule) Feature {
		return Feature{Name: name, Configs: configs, Modules: append([]string{"nf_tables"}, modules...), NeededFor: need, Required: required, rule: r}
	}
	return []Feature{
		{Name: "veth", Configs: []string{"CONFIG_VETH"}, Modules: []string{"veth"}, NeededFor: pods, Required: true, probe: veth},
		{Name: "vxlan", Configs: []string{"CONFIG_VXLAN"}, Modules: []string{"vxlan"}, NeededFor: "overlay between nodes",
			Required: n.Overlay == "vxlan", probe: vxlan},
		nft("nf_tables", []string{"CONFIG_NF_TABLES", "CONFIG_NF_TABLES_INET"}, nil, pods, true, filterRule()),
		nft("nft ct", []string{"CONFIG_NFT_CT"}, []string{"nft_ct"}, masquerade, true, nftCt()),
		nft("nft masquerade", []string{"CONFIG_NFT_MASQ"}, []string{"nft_chain_nat", "nft_masq"}, masquerade, true, nftMasquerade()),
		nft("nft nat", []string{"CONFIG_NFT_NAT"}, []string{"nft_chain_nat", "nft_nat"}, "host ports", true, nftNAT()),
		nft("nft fib", []string{"CONFIG_NFT_FIB_INET", "CONFIG_NFT_FIB_IPV4", "CONFIG_NFT_FIB_IPV6"}, []string{"nft_fib_inet"}, "host ports", true, nftFib()),
		nft("nft reject", []string{"CONFIG_NFT_REJECT_INET"}, []string{"nft_reject_inet"}, "refusing what has no endpoint", true, nftReject()),
		nft("nft numgen", []string{"CONFIG_NFT_NUMGEN"}, []string{"nft_numgen"}, services, nftables, nftNumgen()),
		{Name: "conntrack netlink", Configs: []string{"CONFIG_NF_CT_NETLINK"}, Modules: []string{"nf_conntrack_netlink"},
			NeededFor: "UDP services", probe: conntrack},
	}
}

func ipvsFeatures(n Need) []Feature {
	const services = "services with IPVS (else nftables)"
	required := n.ProxyMode == "ipvs"
	all := []Feature{{Name: "IPVS", Configs: []string{"CONFIG_IP_VS"}, Modules: []string{"ip_vs"}, NeededFor: services, Required: required, probe: ipvsFamily},
		{Name: "IPVS conntrack", Configs: []string{"CONFIG_IP_VS_NFCT"}, Modules: []string{"ip_vs"}, NeededFor: services, Required: required, probe: ipvsConntrack}}
	for _, s := range []struct{ name, config string }{{"rr", "CONFIG_IP_VS_RR"}, {"lc", "CONFIG_IP_VS_LC"}, {"sh", "CONFIG_IP_VS_SH"}} {
		all = append(all, Feature{Name: "IPVS scheduler " + s.name, Configs: []string{s.config}, Modules: []string{"ip_vs", "ip_vs_" + s.name},
			NeededFor: "--proxy-scheduler " + s.name, Required: required && s.name == "rr", probe: ipvsScheduler(s.name)})
	}
	return all
}
