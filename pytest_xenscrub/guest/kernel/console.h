/* SPDX-License-Identifier: MIT */
/* The PV console: bytes out, lines in. */

#ifndef CONSOLE_H
#define CONSOLE_H

#include "lib.h"

#define CONSOLE_LINE_MAX 128

struct xencons_interface;

void console_init(struct xencons_interface *ring, unsigned int port);

/* Waits, asleep, while the ring is full; tells the daemon only then: see console_kick(). */
void console_write(const char *text, size_t len);

/*
 * Tells the daemon that there is something to read. It masks a guest that does so more than
 * 30 times in 200 ms, so once per group of lines.
 */
void console_kick(void);

/* Waits, for half a second at most, until the daemon has read all of it. */
void console_drain(void);

/* The next line of input, without its end, or NULL if there is no whole one yet. */
const char *console_read_line(void);

unsigned int console_port(void);

#endif
