// Package config turns flags, environment and files into one typed, validated value that is resolved once
// and read-only afterwards. Components get small structs of their own, never the whole. Every package may
// import it; it imports no other package of kedge.
package config
