package ipvs

import (
	"errors"

	"kedge/pkg/network/proxy/ipvs/vs"
)

// Clean removes everything of the backend from the network namespace of the calling thread: rules, virtual servers with kedge's label,
// routes. Connections through IPVS end with that. Nothing there is no error; what others made stays. Parameters of IPVS keep their values.
func Clean() error {
	return errors.Join(cleanRules(), cleanServers(), cleanRoutes())
}

func cleanRules() error {
	r, err := openRuleset()
	if err != nil {
		return err
	}
	return errors.Join(r.remove(), r.removeTimeouts(""), r.close())
}

func cleanServers() error {
	conn, err := vs.Dial()
	if err != nil {
		return nil //nolint:nilerr // a kernel without IPVS has no virtual servers
	}
	servers, err := conn.Servers()
	var requests []vs.Request
	for _, s := range servers {
		if s.Ours() {
			requests = append(requests, vs.Delete(s.ID))
		}
	}
	errs := []error{err}
	for _, f := range conn.Do(requests) {
		errs = append(errs, f)
	}
	return errors.Join(append(errs, conn.Close())...)
}

func cleanRoutes() error {
	r, err := openRouter()
	if err != nil {
		return err
	}
	defer r.close()
	_, errs := r.ensure(nil, nil)
	return errors.Join(errs...)
}
