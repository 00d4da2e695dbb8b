/* SPDX-License-Identifier: MIT */
/* What the parts of the PV platform share. */

#ifndef PV_PV_H
#define PV_PV_H

#include "platform.h"

extern start_info_t *pv_start_info;

void pv_attach(void);
bool pv_leave(void);

void pv_map_all(void);
void pv_unmap(unsigned long first, unsigned long end, unsigned long step);
void pv_map(unsigned long first, unsigned long end);

#endif
