package overlay

// difference is what has to be done so that have becomes want: what to set, new or with another value, and what to remove.
// A map is nil when it would be empty.
func difference[K, V comparable](want, have map[K]V) (set, remove map[K]V) {
	for k, v := range want {
		if old, ok := have[k]; !ok || old != v {
			if set == nil {
				set = map[K]V{}
			}
			set[k] = v
		}
	}
	for k, v := range have {
		if _, ok := want[k]; !ok {
			if remove == nil {
				remove = map[K]V{}
			}
			remove[k] = v
		}
	}
	return set, remove
}
