package cni

import "sync"

// keyLocks serialises the calls for one interface of one container. The zero value is ready.
type keyLocks struct {
	mu   sync.Mutex
	held map[string]*keyLock
}

type keyLock struct {
	sync.Mutex
	users int
}

// lock waits until the key is free and returns what frees it again.
func (k *keyLocks) lock(key string) (unlock func()) {
	k.mu.Lock()
	if k.held == nil {
		k.held = map[string]*keyLock{}
	}
	l := k.held[key]
	if l == nil {
		l = &keyLock{}
		k.held[key] = l
	}
	l.users++
	k.mu.Unlock()
	l.Lock()
	return func() { k.unlock(key, l) }
}

// tryLock is lock for a key that nobody holds or waits for; otherwise it returns nil.
func (k *keyLocks) tryLock(key string) (unlock func()) {
	k.mu.Lock()
	busy := k.held[key] != nil
	k.mu.Unlock()
	if busy {
		return nil
	}
	return k.lock(key)
}

func (k *keyLocks) unlock(key string, l *keyLock) {
	l.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(k.held, key)
	}
}
