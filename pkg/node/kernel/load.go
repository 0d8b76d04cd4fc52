package kernel

// Load loads a module and those that it needs. One that is loaded or built in is no error.
func Load(name string) error { return openModules().load(name) }
