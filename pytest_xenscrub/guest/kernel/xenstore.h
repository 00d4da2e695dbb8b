/* SPDX-License-Identifier: MIT */
/* As much of xenstore as it takes to be shut down, or suspended, politely. */

#ifndef XENSTORE_H
#define XENSTORE_H

#include "lib.h"

struct xenstore_domain_interface;

void xenstore_init(struct xenstore_domain_interface *ring, unsigned int port);
unsigned int xenstore_port(void);

/* Watches control/shutdown; in each domain anew. */
void xenstore_watch_shutdown(void);

/* Told what was asked for there: "poweroff", "reboot", "suspend". */
typedef void shutdown_fn(const char *wanted);

/* Call on each event of the port. */
void xenstore_poll(shutdown_fn *handle);

#endif
