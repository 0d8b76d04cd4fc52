// Package config turns flags, environment and files into one typed, validated value that is resolved once
// and read-only afterwards. Components get small structs of their own, never the whole.
//
// One table (Options) holds every option as data: its name, which is at once the flag, the key in files and, in
// capitals behind KEDGE_, the environment variable; its default; its help text; the roles it belongs to; and the field
// it sets, whose type decides how its text is read. Load collects what the files and the environment say below the
// flags; Resolve is a pure function of that and of the Machine, and reports all errors at once.
//
// Every package may import it; it imports no other package of kedge.
package config
