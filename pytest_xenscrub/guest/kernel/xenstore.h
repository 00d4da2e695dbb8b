/* SPDX-License-Identifier: MIT */
/* As much of xenstore as it takes to be shut down, or suspended, politely. */

#ifndef XENSTORE_H
#define XENSTORE_H

#include "lib.h"

struct xenstore_domain_interface;

void xenstore_init(struct xenstore_domain_interface *ring, unsigned int port);
unsigned int xenstore_port(void);

/* Watches control/shutdown, in each domain anew; does what is asked for there: call on each event of the port. */
void xenstore_watch_shutdown(void);
void xenstore_poll(void);

#endif
