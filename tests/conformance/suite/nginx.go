package main

import "context"

// nginxConf serves Debian's welcome page on every address and logs to the container's log.
const nginxConf = `user www-data;
worker_processes 1;
pid /run/nginx.pid;
error_log stderr notice;

events {
}

http {
	include mime.types;
	access_log /dev/stdout;

	server {
		listen 80;
		listen [::]:80;
		root /usr/share/nginx/html;
	}
}`

func (l larder) nginx(ctx context.Context, t tree) error {
	if err := l.packages(ctx, t, "nginx"); err != nil {
		return err
	}
	t.text("etc/nginx/nginx.conf", nginxConf)
	t.dir("var/lib/nginx", 0o755)
	t.dir("var/log/nginx", 0o755)
	return nil
}
