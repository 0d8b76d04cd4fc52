package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"kedge/tests/usage"
)

const (
	programLimit = 30 * time.Minute
	changeLimit  = 10 * time.Minute
	settle       = 3 * time.Second
	lookLimit    = 100 * time.Millisecond // for one answer; a service that is not there yet gives none
	eager        = 50 * time.Millisecond  // in which it is looked without a pause
	share        = 50                     // of the time that has passed is each pause: without any, the client takes half of a processor
	samples      = 32                     // services that are looked at to find out whether all are there
)

// measure runs the proxy through the plan. The client's questions are asked on one thread in the client's namespace.
func (b *bench) measure(ctx context.Context) error {
	begin := time.Now()
	subject, err := b.start(ctx)
	if err != nil {
		return err
	}
	b.subject = subject
	defer subject.stop()
	return b.client.Do(func() error {
		if err := b.programmed(ctx, begin); err != nil {
			return err
		}
		if err := b.changes(ctx); err != nil {
			return err
		}
		return b.firstByte()
	})
}

// programmed waits until services from all over the list are there, and then for each of the others that is not: upstream's ipvs mode
// programs them in no order.
func (b *bench) programmed(ctx context.Context, begin time.Time) error {
	for n := range samples {
		if err := b.await(ctx, n*(b.Services-1)/(samples-1), programLimit, func(netip.Addr) bool { return true }); err != nil {
			return fmt.Errorf("wait for the kernel to be programmed: %w", err)
		}
	}
	b.result[program] = time.Since(begin).Seconds()
	for n := range b.Services {
		if _, err := ask(serviceTarget(n), lookLimit); err == nil {
			continue
		}
		if err := b.await(ctx, n, programLimit, func(netip.Addr) bool { return true }); err != nil {
			return fmt.Errorf("check service %d of %d: %w", n, b.Services, err)
		}
		b.result[program] = time.Since(begin).Seconds()
	}
	b.say("programmed after %.2f s", b.result[program])
	if err := pause(ctx, settle); err != nil {
		return err
	}
	u, err := usage.Of(b.subject.Process.Pid)
	if err != nil {
		return err
	}
	b.result[programCPU] = (u.CPU + u.Children).Seconds()
	b.result[resident], b.result[anonymous] = float64(u.Resident)/1e6, float64(u.Anonymous)/1e6
	return nil
}

// await asks a service until it gives the wanted answer: all the time at first, and seldomer the longer it takes.
func (b *bench) await(ctx context.Context, service int, limit time.Duration, good func(netip.Addr) bool) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for begin := time.Now(); ; {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return errors.New("interrupted")
		case <-b.subject.ended:
			return errors.New("the proxy has ended")
		}
		answer, err := ask(serviceTarget(service), lookLimit)
		if err == nil && good(answer) {
			return nil
		}
		passed := time.Since(begin)
		if passed > limit {
			return fmt.Errorf("service %d: no good answer within %v: %w", service, limit, err)
		}
		pause := passed / share
		if passed < eager {
			pause = 0
		}
		timer.Reset(pause)
	}
}

// changes gives probes other endpoints, one after the other, and takes the time until connections go there. One goes before, for a
// proxy that is still busy with its start.
func (b *bench) changes(ctx context.Context) error {
	if _, err := b.change(ctx, b.Changes, programLimit); err != nil {
		return err
	}
	before, err := usage.Of(b.subject.Process.Pid)
	if err != nil {
		return err
	}
	var took []float64
	for n := range b.Changes {
		if err := pause(ctx, b.Pause); err != nil {
			return err
		}
		d, err := b.change(ctx, n, changeLimit)
		if err != nil {
			return err
		}
		b.say("change %d: %v", n, d)
		took = append(took, d.Seconds()*1000)
	}
	if err := pause(ctx, b.Pause); err != nil {
		return err
	}
	after, err := usage.Of(b.subject.Process.Pid)
	if err != nil {
		return err
	}
	slices.Sort(took)
	b.result[changeMedian], b.result[changeWorst] = quantile(took, 0.5), quantile(took, 0.99)
	if b.Changes > 0 {
		b.result[changeCPU] = (after.CPU + after.Children - before.CPU - before.Children).Seconds() * 1000 / float64(b.Changes)
	}
	return nil
}

// change makes the n-th change and returns how long it took.
func (b *bench) change(ctx context.Context, n int, limit time.Duration) (time.Duration, error) {
	marker := markerIP(probes + n)
	slice := newSlice(b.probeService(n), marker)
	begin := time.Now()
	b.store.Put(slice)
	if err := b.await(ctx, b.probeService(n), limit, func(a netip.Addr) bool { return a == marker }); err != nil {
		return 0, fmt.Errorf("wait for change %d: %w", n, err)
	}
	return time.Since(begin), nil
}

// firstByte compares connections through services with connections straight to pods, in turn.
func (b *bench) firstByte() error {
	var through, straight []float64
	for n := range b.Connections {
		service := n % b.Services
		for _, target := range []string{podTarget(endpointIP(service, 0)), serviceTarget(service)} {
			begin := time.Now()
			if _, err := ask(target, connectLimit); err != nil {
				return fmt.Errorf("measure connections: %w", err)
			}
			took := time.Since(begin).Seconds() * 1e6
			if target == serviceTarget(service) {
				through = append(through, took)
			} else {
				straight = append(straight, took)
			}
		}
	}
	slices.Sort(through)
	slices.Sort(straight)
	b.result[firstThrough], b.result[firstStraight] = quantile(through, 0.5), quantile(straight, 0.5)
	return nil
}

// quantile of sorted values, the higher one where it lies between two.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// say shows how far a measurement that takes long is.
func (b *bench) say(format string, args ...any) {
	if b.Verbose {
		fmt.Fprintf(os.Stderr, b.Subject+": "+format+"\n", args...)
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return errors.New("interrupted")
	}
}
