/* SPDX-License-Identifier: Apache-2.0 */
#include "http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

static int stopped(http_server *server)
{
	return __atomic_load_n(&server->stop, __ATOMIC_ACQUIRE);
}

/* One request's head, and its body as far as it comes along; 0: the end. */
static int take_request(http_server *server, int fd)
{
	char head[2048] = "";
	size_t len = 0;
	struct pollfd wait = {.fd = fd, .events = POLLIN};

	while (!strstr(head, "\r\n\r\n")) {
		if (stopped(server))
			return 0;
		if (poll(&wait, 1, 20) <= 0)
			continue;
		ssize_t n = recv(fd, head + len, sizeof(head) - 1 - len, 0);
		if (n <= 0)
			return 0;
		len += (size_t)n;
		head[len] = '\0';
	}
	int i = __atomic_fetch_add(&server->requests, 1, __ATOMIC_RELAXED);
	if (i < 16)
		memcpy(server->heads[i], head, sizeof(head));
	return 1;
}

static void say(int fd, const http_answer *answer)
{
	size_t len = answer->len ? answer->len : strlen(answer->text);
	size_t piece = answer->piece ? (size_t)answer->piece : len;

	for (size_t at = 0; at < len; at += piece) {
		size_t n = len - at < piece ? len - at : piece;
		if (send(fd, answer->text + at, n, MSG_NOSIGNAL) < 0)
			return;
	}
}

static void wait_for_end(http_server *server, int fd)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	char byte;

	while (!stopped(server))
		if (poll(&wait, 1, 20) > 0 && recv(fd, &byte, 1, 0) <= 0)
			return;
}

static void serve_connection(http_server *server, int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	while (server->next < server->answers && take_request(server, fd)) {
		const http_answer *answer = &server->script[server->next++];
		say(fd, answer);
		if (answer->silent)
			wait_for_end(server, fd);
		if (answer->reset) {
			struct linger hard = {.l_onoff = 1};
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
		}
		if (answer->reset || answer->close || answer->silent)
			return;
	}
	wait_for_end(server, fd);
}

static void *serve(void *arg)
{
	http_server *server = arg;
	struct pollfd wait = {.fd = server->listening, .events = POLLIN};

	while (!stopped(server)) {
		if (poll(&wait, 1, 20) <= 0)
			continue;
		int fd = accept(server->listening, NULL, NULL);
		if (fd < 0)
			continue;
		__atomic_add_fetch(&server->connections, 1, __ATOMIC_RELAXED);
		serve_connection(server, fd);
		close(fd);
	}
	return NULL;
}

void http_server_start(http_server *server, const http_answer *script,
		       size_t answers)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(address);

	memset(server, 0, sizeof(*server));
	server->script = script;
	server->answers = answers;
	server->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(!bind(server->listening, (struct sockaddr *)&address, len));
	CHECK(!listen(server->listening, 16));
	getsockname(server->listening, (struct sockaddr *)&address, &len);
	server->port = ntohs(address.sin_port);
	snprintf(server->url, sizeof(server->url), "http://127.0.0.1:%d",
		 server->port);
	pthread_create(&server->thread, NULL, serve, server);
}

void http_server_stop(http_server *server)
{
	__atomic_store_n(&server->stop, 1, __ATOMIC_RELEASE);
	pthread_join(server->thread, NULL);
	close(server->listening);
}
