package registries

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"

	"kedge/pkg/config"
)

// DefaultFile is where the configuration of registries is looked for.
const DefaultFile = "/etc/kedge/registries.yaml"

// wildcard stands for every registry that has no entry of its own.
const wildcard = "*"

// Registries is the content of registries.yaml. It is read-only once loaded.
type Registries struct {
	Mirrors map[string]Mirror   // by registry, as image names spell it, or "*"
	Configs map[string]Settings // by host[:port] of an endpoint, or "*"
}

// Mirror lists where the images of one registry are looked for before the registry itself is asked.
type Mirror struct {
	Endpoints []string  // URLs, in the order in which they are tried
	Rewrites  []Rewrite // in the file's order; the first that matches a repository's name applies
}

// Rewrite replaces what matches in a repository's name; $1 stands for the first group.
type Rewrite struct {
	Pattern     *regexp.Regexp
	Replacement string
}

// Settings say how to talk to one endpoint.
type Settings struct {
	Auth *Auth
	TLS  *TLS
}

// Auth is a user's name and password, or an identity token. Its String hides both.
type Auth struct {
	Username      string
	Password      string
	IdentityToken string
}

// String tells whose credentials these are.
func (a Auth) String() string { return fmt.Sprintf("credentials of %q", a.Username) }

// GoString is String.
func (a Auth) GoString() string { return a.String() }

// decodeAuth reads the base64 form of user:password that docker's configuration has.
func decodeAuth(text string) (Auth, error) {
	plain, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return Auth{}, errors.New("is not base64")
	}
	user, password, ok := bytes.Cut(bytes.TrimRight(plain, "\x00"), []byte(":"))
	if !ok || len(user) == 0 || len(password) == 0 {
		return Auth{}, errors.New("is not the base64 form of user:password")
	}
	return Auth{Username: string(user), Password: string(password)}, nil
}

// TLS names PEM files; they are read again at every pull.
type TLS struct {
	CAFile             string
	CertFile           string
	KeyFile            string
	InsecureSkipVerify bool
}

// Load reads file. One that does not exist configures nothing. The error holds everything that is wrong.
func Load(file string) (*Registries, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return &Registries{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read registries: %w", err)
	}
	d := &decoder{file: file}
	r := d.decode(data)
	if len(d.problems) > 0 {
		return nil, &config.InvalidError{Problems: d.problems}
	}
	return r, nil
}
