package config

import (
	"strings"

	"github.com/agnivade/levenshtein"
)

// Nearest returns the candidate that name was probably meant to be: the one with the fewest changed letters,
// if those are at most a third of name. Case and the difference of "_" and "-" count as nothing.
func Nearest(name string, candidates []string) (string, bool) {
	plain := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "-")) }
	name = plain(name)
	best, limit := "", max(1, (len(name)+2)/3)+1
	for _, c := range candidates {
		if d := levenshtein.ComputeDistance(name, plain(c)); d < limit {
			best, limit = c, d
		}
	}
	return best, best != ""
}

// didYouMean is the end of an error about an unknown name; hint is said when no candidate is near.
func didYouMean(name string, candidates []string, hint string) string {
	if best, ok := Nearest(name, candidates); ok {
		return "; did you mean " + best + "?"
	}
	return "; " + hint
}
