package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	patience = 5 * time.Second
	account  = "/var/run/secrets/kubernetes.io/serviceaccount/"
)

func dial(network, addr, text string) error {
	if network == "http" {
		client := http.Client{Timeout: patience}
		return get(&client, "http://"+addr+"/"+text, "")
	}
	c, err := net.DialTimeout(network, addr, patience)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	n, err := c.Read(buf)
	if err != nil {
		return err
	}
	fmt.Println(string(buf[:n]))
	return nil
}

// bulk fills packets of full size in both directions.
func bulk(addr, text string) error {
	mb, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	sent := bytes.Repeat([]byte("0123456789abcdef"), mb<<20/16)
	client := http.Client{Timeout: 6 * patience}
	resp, err := client.Post("http://"+addr+"/echo", "application/octet-stream", bytes.NewReader(sent))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	back, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if !bytes.Equal(sent, back) {
		return fmt.Errorf("%d bytes went and %d other ones came back", len(sent), len(back))
	}
	fmt.Printf("%d MB there and back\n", mb)
	return nil
}

func get(client *http.Client, url, token string) error {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, resp.Status, body)
	}
	fmt.Println(strings.TrimSpace(string(body)))
	return nil
}

// api proves token, trust and way to the API server at once.
func api(path string) error {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" {
		return errors.New("KUBERNETES_SERVICE_HOST is not set")
	}
	token, err := os.ReadFile(account + "token")
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(account + "ca.crt")
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return errors.New("no certificate in ca.crt")
	}
	client := &http.Client{Timeout: 2 * patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	return get(client, "https://"+net.JoinHostPort(host, port)+path, string(token))
}

func resolve(name, server string) error {
	r := &net.Resolver{PreferGo: true}
	if server != "" {
		if _, _, err := net.SplitHostPort(server); err != nil {
			server = net.JoinHostPort(server, "53")
		}
		r.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, server)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	found, err := r.LookupHost(ctx, name)
	if err != nil {
		return err
	}
	slices.Sort(found)
	for _, a := range slices.Compact(found) {
		fmt.Println(a)
	}
	return nil
}
