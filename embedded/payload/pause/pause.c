// pause is the first process of every pod sandbox: it holds the namespaces open, reaps the children that a
// shared process namespace hands to it, and ends on SIGTERM or SIGINT. It uses no libc, allocates nothing
// and stays blocked in one system call, so a sandbox costs a few pages.

typedef unsigned long word;

enum { SIG_INT = 2, SIG_TERM = 15, SIG_CHLD = 17, SIG_BLOCK = 0, WAIT_NOHANG = 1, E_INTR = 4, E_AGAIN = 11 };

#if defined(__x86_64__)
enum { SYS_SIGPROCMASK = 14, SYS_WAIT4 = 61, SYS_SIGTIMEDWAIT = 128, SYS_EXIT_GROUP = 231 };

static long call(word nr, word a, word b, word c, word d) {
	register word r10 __asm__("r10") = d;
	long ret;
	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
enum { SYS_SIGPROCMASK = 135, SYS_WAIT4 = 260, SYS_SIGTIMEDWAIT = 137, SYS_EXIT_GROUP = 94 };

static long call(word nr, word a, word b, word c, word d) {
	register word x8 __asm__("x8") = nr;
	register word x0 __asm__("x0") = a;
	register word x1 __asm__("x1") = b;
	register word x2 __asm__("x2") = c;
	register word x3 __asm__("x3") = d;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return (long)x0;
}
#else
#error "pause knows x86_64 and aarch64"
#endif

static word bit(int sig) { return 1UL << (sig - 1); }

// The signals are blocked, not handled: the kernel queues a blocked signal even for the init process of a
// process namespace, which otherwise never sees one without a handler.
void _start(void) {
	word set = bit(SIG_INT) | bit(SIG_TERM) | bit(SIG_CHLD);
	call(SYS_SIGPROCMASK, SIG_BLOCK, (word)&set, 0, sizeof set);
	for (;;) {
		while (call(SYS_WAIT4, (word)-1, 0, WAIT_NOHANG, 0) > 0) {
		}
		long sig = call(SYS_SIGTIMEDWAIT, (word)&set, 0, 0, sizeof set);
		if (sig != SIG_CHLD && sig != -E_INTR && sig != -E_AGAIN)
			call(SYS_EXIT_GROUP, sig < 0, 0, 0, 0);
	}
}
