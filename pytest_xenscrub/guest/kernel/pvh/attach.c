/* SPDX-License-Identifier: MIT */
/* Attaches a PVH guest to its domain (rings, shared_info), and suspends it. */

#include "console.h"
#include "pvh/pvh.h"
#include "shared_info.h"
#include "window.h"
#include "xenstore.h"

#include <xen/hvm/hvm_op.h>
#include <xen/hvm/params.h>

/* Place of shared_info: nothing else is between the local APIC and the builder's special pages. */
#define SHARED_INFO_GFN 0xfef00ul

/* A toolstack tells only guests with a callback that their suspend was cancelled. */
#define CALLBACK_VECTOR (2ul << 56 | 0xf3)

static unsigned long param(unsigned int index)
{
    struct xen_hvm_param p = { .domid = DOMID_SELF, .index = index };

    MUST(hyp_hvm_op(HVMOP_get_param, &p));

    return p.value;
}

/* Maps a page, or returns the mapping of an earlier call. */
static void *map_once(unsigned long gfn)
{
    static struct {
        unsigned long gfn;
        void *va;
    } mapped[4];
    unsigned int i;

    for ( i = 0; mapped[i].va; i++ )
        if ( mapped[i].gfn == gfn )
            return mapped[i].va;
    if ( i == ARRAY_SIZE(mapped) - 1 )
        fail("the rings are somewhere else each time");

    mapped[i].gfn = gfn;
    mapped[i].va = keep_mapped(gfn);

    return mapped[i].va;
}

static void map_shared_info(void)
{
    struct xen_add_to_physmap add = {
        .domid = DOMID_SELF,
        .space = XENMAPSPACE_shared_info,
        .gpfn = SHARED_INFO_GFN,
    };

    MUST(hyp_memory_op(XENMEM_add_to_physmap, &add));
    shared = map_once(SHARED_INFO_GFN);
    shared_info_mask();
}

void pvh_attach(void)
{
    struct xen_hvm_param callback = {
        .domid = DOMID_SELF,
        .index = HVM_PARAM_CALLBACK_IRQ,
        .value = CALLBACK_VECTOR,
    };

    console_init(map_once(param(HVM_PARAM_CONSOLE_PFN)), param(HVM_PARAM_CONSOLE_EVTCHN));
    xenstore_init(map_once(param(HVM_PARAM_STORE_PFN)), param(HVM_PARAM_STORE_EVTCHN));
    map_shared_info();
    MUST(hyp_hvm_op(HVMOP_set_param, &callback));
}

bool pvh_leave(void)
{
    return hyp_suspend(0) != 0;
}
