// Package e2e runs the executable in hosts that the tests make, the way its users do.
//
// KEDGE_BIN names the executable; without it, or without root, the tests are skipped. Images come from tests/image and
// nothing is fetched from anywhere. Tests run one after the other: each owns its host, and TestNode shares one among
// everything that does not disturb others. The package has no code outside of tests and nobody imports it.
package e2e
