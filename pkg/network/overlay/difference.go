package overlay

// difference is what has to be done so that have becomes want: what to set, new or with another value, and what to remove.
func difference[K, V comparable](want, have map[K]V) (set, remove map[K]V) {
	set, remove = map[K]V{}, map[K]V{}
	for k, v := range want {
		if old, ok := have[k]; !ok || old != v {
			set[k] = v
		}
	}
	for k, v := range have {
		if _, ok := want[k]; !ok {
			remove[k] = v
		}
	}
	return set, remove
}
