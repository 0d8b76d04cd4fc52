// Package process is what a kedge process of either role does about itself: the pace of its garbage collector, the precision
// of its timers, and the word to the service manager. It touches settings of the whole process and is for pkg/server and
// pkg/agent alone, once each. It imports pkg/lifecycle alone of kedge.
package process
