package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strconv"
	"strings"
)

// assign reads the text of one item into the field that an option sets; lists grow by one element.
func assign(field any, text string) error {
	switch p := field.(type) {
	case *string:
		*p = text
		return nil
	case *[]string:
		*p = append(*p, text)
		return nil
	case *bool:
		return set(p, text, strconv.ParseBool)
	case *int:
		return set(p, text, strconv.Atoi)
	case *fs.FileMode:
		return set(p, text, parseMode)
	case *netip.Addr:
		return set(p, text, parseAddr)
	case *[]netip.Addr:
		return add(p, text, parseAddr)
	case *[]netip.Prefix:
		return add(p, text, parsePrefix)
	case *[]Arg:
		return add(p, text, parseArg)
	}
	return fmt.Errorf("no rule to read %T", field)
}

// errReason carries the whole reason; other errors of parsers say less than what was wanted.
type errReason struct{ error }

func reason(format string, args ...any) error { return errReason{fmt.Errorf(format, args...)} }

func set[T any](to *T, text string, parse func(string) (T, error)) error {
	v, err := parse(text)
	if err == nil {
		*to = v
		return nil
	}
	if r := (errReason{}); errors.As(err, &r) {
		return fmt.Errorf("%q %w", text, r.error)
	}
	return fmt.Errorf("%q is not %s", text, wanted(to))
}

func add[T any](to *[]T, text string, parse func(string) (T, error)) error {
	v, err := parse(text)
	if err == nil {
		*to = append(*to, v)
		return nil
	}
	if r := (errReason{}); errors.As(err, &r) {
		return fmt.Errorf("%q %w", text, r.error)
	}
	return fmt.Errorf("%q is not %s", text, wanted(to))
}

func parseMode(text string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil || len(text) < 3 || len(text) > 4 || n > 0o777 {
		return 0, errors.New("not a mode")
	}
	if n&0o600 != 0o600 {
		return 0, reason("does not let the owner read and write; use 0600 or 0640")
	}
	return fs.FileMode(n), nil
}

func parseAddr(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return a, err
	}
	if a.Zone() != "" {
		return a, reason("has a zone; addresses of one link cannot be used")
	}
	return a.Unmap(), nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, err
	}
	if p.Addr().Is4In6() {
		return p, reason("is an IPv4 network written as IPv6; write it as IPv4")
	}
	if m := p.Masked(); m != p {
		return p, reason("has bits set behind the prefix; write %s", m)
	}
	return p, nil
}

func parseArg(text string) (Arg, error) {
	key, value, ok := strings.Cut(text, "=")
	switch {
	case strings.HasPrefix(key, "-"):
		return Arg{}, reason("begins with a dash; write %s", strings.TrimLeft(text, "-"))
	case !ok || key == "" || strings.ContainsAny(key, " \t"):
		return Arg{}, errors.New("not an argument")
	}
	return Arg{Key: key, Value: value}, nil
}
