package pki

import (
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// kubeconfigName is the name of the cluster and of the context in every kubeconfig.
const kubeconfigName = "kedge"

// Kubeconfig describes access to one API server. The credentials are either files or PEM data.
type Kubeconfig struct {
	Server string // required: the URL
	User   string // required: the name shown to the user

	CAFile, CertFile, KeyFile string // absolute paths; client-go reads certificate and key again when they change
	CA, Cert, Key             []byte // PEM
}

// Encode returns the kubeconfig as YAML.
func (k Kubeconfig) Encode() ([]byte, error) {
	config := clientcmdapi.NewConfig()
	config.Clusters[kubeconfigName] = &clientcmdapi.Cluster{
		Server: k.Server, CertificateAuthority: k.CAFile, CertificateAuthorityData: k.CA,
	}
	config.AuthInfos[k.User] = &clientcmdapi.AuthInfo{
		ClientCertificate: k.CertFile, ClientKey: k.KeyFile, ClientCertificateData: k.Cert, ClientKeyData: k.Key,
	}
	config.Contexts[kubeconfigName] = &clientcmdapi.Context{Cluster: kubeconfigName, AuthInfo: k.User}
	config.CurrentContext = kubeconfigName
	data, err := clientcmd.Write(*config)
	if err != nil {
		return nil, fmt.Errorf("encode kubeconfig of %s: %w", k.User, err)
	}
	return data, nil
}
