// Command probe is what test pods run: servers, clients and appetites in one small static program.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

const usage = `usage: probe serve [PORT]              HTTP and UDP on PORT (8080), see serve.go
       probe dial tcp|udp|http ADDRESS [TEXT]  send TEXT, print the answer; within 5 s
       probe bulk ADDRESS MB              send so much to a probe's /echo and compare what comes back
       probe resolve NAME [SERVER]        print the addresses of NAME, one a line
       probe api PATH                     GET from the API server as the pod's service account
       probe eat MB                       hold so much memory until asked to stop
       probe sleep [SECONDS]              until then, or until asked to stop
       probe write FILE TEXT              append a line and sync
`

func main() {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func run(what string, args []string) error {
	arg := func(i int, otherwise string) string {
		if i < len(args) {
			return args[i]
		}
		return otherwise
	}
	switch what {
	case "serve":
		return serve(arg(0, "8080"))
	case "dial":
		return dial(arg(0, ""), arg(1, ""), arg(2, "client"))
	case "bulk":
		return bulk(arg(0, ""), arg(1, "1"))
	case "resolve":
		return resolve(arg(0, ""), arg(1, ""))
	case "api":
		return api(arg(0, "/version"))
	case "eat":
		return eat(arg(0, "1"))
	case "sleep":
		return sleep(arg(0, "1000000"))
	case "write":
		return write(arg(0, ""), arg(1, ""))
	default:
		return fmt.Errorf("unknown command %q\n%s", what, usage)
	}
}

func eat(text string) error {
	mb, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	var held [][]byte
	for range mb {
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		held = append(held, block)
	}
	fmt.Printf("ate %d MB\n", len(held))
	<-stopped()
	return nil
}

func sleep(text string) error {
	seconds, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	select {
	case <-stopped():
		fmt.Println("asked to stop")
	case <-time.After(time.Duration(seconds) * time.Second):
	}
	return nil
}

func stopped() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM, syscall.SIGINT)
	return c
}

func write(file, text string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, text); err != nil {
		return err
	}
	return f.Sync()
}
