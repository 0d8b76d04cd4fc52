package token

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"k8s.io/cluster-bootstrap/token/api"
	"k8s.io/cluster-bootstrap/token/util"
)

// ErrMalformed is the cause of Parse's errors.
var ErrMalformed = errors.New("not a token")

const (
	separator         = "::"
	fingerprintDigits = 64
)

// Token is a parsed token.
type Token struct {
	Fingerprint string // SHA-256 of the root certificate's DER form, in lower-case hexadecimal
	ID          string // public: names the token in the cluster
	Secret      string
}

var _ slog.LogValuer = Token{}

// New returns a token with a fresh id and secret for the cluster with the given root. The cluster does not know it
// before Create.
func New(fingerprint string) (Token, error) {
	if err := checkFingerprint(fingerprint); err != nil {
		return Token{}, fmt.Errorf("make token: %w", err)
	}
	text, err := util.GenerateBootstrapToken()
	if err != nil {
		return Token{}, fmt.Errorf("make token: %w", err)
	}
	id, secret, _ := strings.Cut(text, ".")
	return Token{Fingerprint: fingerprint, ID: id, Secret: secret}, nil
}

// Parse reads a token; space around it is ignored. The error says which part is wrong and never shows the secret.
func Parse(text string) (Token, error) {
	fingerprint, rest, ok := strings.Cut(strings.TrimSpace(text), separator)
	if !ok {
		return Token{}, fmt.Errorf("%w: it has no %q; want <fingerprint>::<id>.<secret>, as kedge token create prints it", ErrMalformed, separator)
	}
	if err := checkFingerprint(fingerprint); err != nil {
		return Token{}, err
	}
	if !util.IsValidBootstrapToken(rest) {
		return Token{}, fmt.Errorf("%w: what follows %q is not <id>.<secret> with %d and %d letters a-z or digits; was the token cut off?",
			ErrMalformed, separator, api.BootstrapTokenIDBytes, api.BootstrapTokenSecretBytes)
	}
	id, secret, _ := strings.Cut(rest, ".")
	return Token{Fingerprint: fingerprint, ID: id, Secret: secret}, nil
}

func checkFingerprint(text string) error {
	if _, err := hex.DecodeString(text); err != nil || len(text) != fingerprintDigits || strings.ToLower(text) != text {
		return fmt.Errorf("%w: it begins with %q and not with the %d hexadecimal digits of a root certificate's SHA-256", ErrMalformed, shorten(text), fingerprintDigits)
	}
	return nil
}

// shorten keeps what somebody took for a token from being printed whole.
func shorten(text string) string {
	if len(text) > 8 {
		return text[:8] + "…"
	}
	return text
}

// String is the whole token with its secret.
func (t Token) String() string { return t.Fingerprint + separator + t.Bearer() }

// Bearer is the part that authenticates to the API server.
func (t Token) Bearer() string { return util.TokenFromIDAndSecret(t.ID, t.Secret) }

// LogValue is the token in a log: its id alone.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.ID) }
