/* SPDX-License-Identifier: MIT */

#include "shared_info.h"

struct shared_info *shared;

void shared_info_mask(void)
{
    memset(shared->evtchn_mask, 0xff, sizeof(shared->evtchn_mask));
}
