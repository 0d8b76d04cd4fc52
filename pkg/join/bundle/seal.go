package bundle

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

const (
	keyBytes = 32 // AES-256

	// What a ciphertext is for is bound to it, so that none can stand for another.
	purposePayload = "kedge bundle payload v1"
	purposeKey     = "kedge bundle key v1 for token "
)

// errSealed is returned for what cannot be decrypted: a wrong key, or a changed text.
var errSealed = errors.New("it was encrypted with another key, or was changed since")

// tokenKey derives the key that encrypts the data key from a token's secret. A token's secret has 80 bits of randomness, so
// that no slow derivation is needed.
func tokenKey(id, secret string) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, []byte(secret), []byte(id), purposeKey+id, keyBytes)
	if err != nil {
		return nil, fmt.Errorf("derive key of token %s: %w", id, err)
	}
	return key, nil
}

func newDataKey() []byte {
	key := make([]byte, keyBytes)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	return key
}

// seal encrypts text for a purpose. The nonce comes first; each key encrypts one text.
func seal(key, text []byte, purpose string) ([]byte, error) {
	aead, err := gcm(key)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, text, []byte(purpose)), nil
}

// open decrypts what seal returned.
func open(key, sealed []byte, purpose string) ([]byte, error) {
	aead, err := gcm(key)
	if err != nil {
		return nil, err
	}
	text, err := aead.Open(nil, nil, sealed, []byte(purpose))
	if err != nil {
		return nil, errSealed
	}
	return text, nil
}

// gcm chooses random nonces and puts them before the text.
func gcm(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("use AES: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("use GCM: %w", err)
	}
	return aead, nil
}
