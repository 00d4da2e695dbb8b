/* SPDX-License-Identifier: MIT */
/* The PV console: bytes out, lines in. */

#ifndef CONSOLE_H
#define CONSOLE_H

#include "lib.h"

#define CONSOLE_LINE_MAX 128

struct xencons_interface;

void console_init(struct xencons_interface *ring, unsigned int port);

/* Sleeps while the ring is full, and notifies the daemon only then: see console_kick(). */
void console_write(const char *text, size_t len);

/*
 * Notifies the daemon that there is something to read. Call it once per group of lines: the daemon
 * masks a guest that notifies it more than 30 times in 200 ms.
 */
void console_kick(void);

/* Waits, for half a second at most, until the daemon has read all output. */
void console_drain(void);

/* The next line of input, without its end, or NULL if there is no complete line yet. */
const char *console_read_line(void);

unsigned int console_port(void);

#endif
