/* SPDX-License-Identifier: MIT */
/* A small xenstore client, for shutdown and suspend requests of the toolstack. */

#ifndef XENSTORE_H
#define XENSTORE_H

#include "lib.h"

struct xenstore_domain_interface;

void xenstore_init(struct xenstore_domain_interface *ring, unsigned int port);
unsigned int xenstore_port(void);

/* Watches control/shutdown; call it again in each new domain. */
void xenstore_watch_shutdown(void);

/* Gets the request: "poweroff", "reboot", "suspend". */
typedef void shutdown_fn(const char *wanted);

/* Call on each event of the port. */
void xenstore_poll(shutdown_fn *handle);

#endif
