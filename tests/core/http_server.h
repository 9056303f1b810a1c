/* SPDX-License-Identifier: Apache-2.0
 *
 * A server that says what its script says: for each connection, one after the other,
 * a list of answers, each given once a request's head has come.
 */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include <pthread.h>
#include <stddef.h>

typedef struct http_answer {
	const char *text; /* NULL: the script's connection ends here */
	size_t len;       /* 0: strlen(text) */
	int piece;        /* bytes sent at once; 0: all */
	int reset;        /* then reset the connection */
	int close;        /* then close it */
	int silent;       /* then wait until the client hangs up */
} http_answer;

typedef struct http_server {
	const http_answer *script;
	size_t answers, next;
	int listening, port;
	char url[64];
	int connections, requests;
	char heads[16][2048]; /* of the first requests */
	int stop;
	pthread_t thread;
} http_server;

void http_server_start(http_server *server, const http_answer *script,
		       size_t answers);
void http_server_stop(http_server *server);

#endif
