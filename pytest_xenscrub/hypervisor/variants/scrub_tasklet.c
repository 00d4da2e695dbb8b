/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Scrubbing of dead domains' pages, delayed to tasklets.
 *
 * Included by page_alloc.c, as it needs that file's allocator.
 *
 * free_domheap_pages() puts the pages of a dying domain on a queue of their
 * node and returns.  One tasklet per CPU takes them from there in batches,
 * scrubs them with no lock held, and gives them to the heap as clean pages.
 *
 * A page that waits is in use as far as the heap is concerned: its reference
 * count is 0, so nobody can get a reference.  Its owner is left in place for
 * mark_page_free(), which decides by it whether a TLB flush is needed.  The
 * domain may be gone by then: the owner must never be dereferenced.
 *
 * Whoever frees memory must not pay for waking the workers, or destroying a
 * domain gets slower by it: a tasklet that is scheduled on the CPU which runs
 * relinquish_memory() makes hypercall_preempt_check() true, and one scheduled
 * on another costs an IPI.  Hence a worker is woken through a timer, and only
 * when a queue becomes non-empty or has grown by another WAKE_PAGES.
 *
 * Tasklets run in preference to guests.  A worker therefore stops after
 * WORK_TIME, and its timer brings it back: at once where the CPU would idle,
 * and no more than for a given share of the time where a guest wants to run.
 *
 * Locks: a queue's lock nests inside any lock that free_domheap_pages() may be
 * called with, outside of a timer's, and never meets heap_lock.
 */

#include <xen/cpu.h>
#include <xen/tasklet.h>
#include <xen/timer.h>

#include "scrub_tasklet.h"

#ifndef cf_check
#define cf_check
#endif

/* What may merge with its buddy; releases know different flags. */
#ifndef PGC_no_buddy_merge
#define PGC_no_buddy_merge PGC_static_or_none
#ifdef PGC_static
#define PGC_static_or_none PGC_static
#else
#define PGC_static_or_none 0UL
#endif
#endif

/* One entry of a queue is at most this large, and so is what is scrubbed at once. */
#define BATCH_ORDER      5

/* Another worker is woken each time that this many pages have been added. */
#define WAKE_PAGES       (MB(4) >> PAGE_SHIFT)

#define WORK_TIME        MILLISECS(1)

/* From a worker's end to the look whether its CPU idles. */
#define PEEK_TIME        MICROSECS(50)

/* From the first page on a queue to the first work: lets the queue grow. */
#define WAKE_TIME        MICROSECS(500)

/* What a memory-short allocation takes from the queues at a time. */
#define PUSH_PAGES       1024UL

/*
 * scrub-tasklet-duty=<percent> -> Share of a busy CPU's time that scrubbing may
 * take away from guests. CPUs that are idle are not limited.
 */
static unsigned int __read_mostly opt_scrub_tasklet_duty = 10;
integer_param("scrub-tasklet-duty", opt_scrub_tasklet_duty);

struct scrub_queue {
    spinlock_t lock;
    struct page_list_head list;

    /*
     * Pages on the list and pages being scrubbed.  Taken off after they are in
     * the heap: counted twice for a moment, but never not at all.
     */
    unsigned long pending;

    /* Pages added since a worker was last woken. */
    unsigned long grown;

    /*
     * CPUs whose timer or tasklet is on its way to this queue.  A CPU leaves
     * with the lock held and the list empty, so no page is left behind.
     */
    cpumask_t workers;
};

static struct scrub_queue scrub_queue[MAX_NUMNODES];

struct scrub_worker {
    struct timer timer;
    struct tasklet tasklet;
    s_time_t resume; /* Not before this time on a CPU that is busy. */
};

static DEFINE_PER_CPU(struct scrub_worker, scrub_worker);

/* CPUs that have a worker; an offline CPU's is gone. Written under all queues' locks. */
static cpumask_t scrub_cpus;

static bool __read_mostly scrub_tasklet_ready;

static void free_heap_pages(struct page_info *pg, unsigned int order,
                            bool need_scrub);
static struct page_info *alloc_heap_pages(unsigned int zone_lo,
                                          unsigned int zone_hi,
                                          unsigned int order,
                                          unsigned int memflags,
                                          struct domain *d);

/* Scrubs one page, with the arguments that this release's scrub_one_page() has. */
static void scrub_tasklet_clear(struct page_info *pg);

static unsigned int scrub_tasklet_node(const struct page_info *pg)
{
#ifdef page_to_nid
    return page_to_nid(pg);
#else
    return phys_to_nid(page_to_maddr(pg));
#endif
}

/*
 * The order of an entry, kept in its first page.  PFN_ORDER() is not to be used:
 * it shares its place with the owner.  The type is of no more use, its count is 0.
 */
static void set_entry_order(struct page_info *pg, unsigned int order)
{
    pg->u.inuse.type_info = order;
}

static unsigned int entry_order(const struct page_info *pg)
{
    return pg->u.inuse.type_info;
}

static unsigned long scrub_tasklet_node_pages(unsigned int node)
{
    return ACCESS_ONCE(scrub_queue[node].pending);
}

unsigned long scrub_tasklet_pages(void)
{
    unsigned long pages = 0;
    unsigned int node;

    for_each_online_node ( node )
        pages += scrub_tasklet_node_pages(node);

    return pages;
}

static bool may_merge(const struct page_info *lower,
                      const struct page_info *upper)
{
    /* MFN 0 is in a zone of its own, see page_to_zone(). */
    return mfn_x(page_to_mfn(lower)) &&
           !((lower->count_info | upper->count_info) & PGC_no_buddy_merge);
}

/*
 * Append an entry.  The pages of a PV domain come one by one but often in order
 * of their addresses: those that are buddies become one entry, so that the heap
 * gets them in one go.
 */
static void queue_add(struct scrub_queue *q, struct page_info *pg,
                      unsigned int order)
{
    struct page_info *last;

    ASSERT(spin_is_locked(&q->lock));

    while ( order < BATCH_ORDER &&
            (last = page_list_last(&q->list)) != NULL &&
            entry_order(last) == order )
    {
        unsigned long size = 1UL << order;
        struct page_info *lower = last < pg ? last : pg;
        struct page_info *upper = last < pg ? pg : last;

        if ( upper != lower + size ||
             (mfn_x(page_to_mfn(lower)) & size) ||
             !may_merge(lower, upper) )
            break;

        page_list_del(last, &q->list);
        pg = lower;
        order++;
    }

    set_entry_order(pg, order);
    page_list_add_tail(pg, &q->list);
}

/*
 * Take the first entry, no larger than a batch: a larger one leaves its upper
 * halves on the queue, and all meet again in the heap.
 */
static struct page_info *queue_take(struct scrub_queue *q, unsigned int *order)
{
    struct page_info *pg = page_list_remove_head(&q->list);

    ASSERT(spin_is_locked(&q->lock));

    if ( !pg )
        return NULL;

    for ( *order = entry_order(pg); *order > BATCH_ORDER; )
    {
        struct page_info *upper = pg + (1UL << --*order);

        set_entry_order(upper, *order);
        page_list_add(upper, &q->list);
    }

    return pg;
}

static void queue_done(struct scrub_queue *q, unsigned int order)
{
    spin_lock(&q->lock);
    ASSERT(q->pending >= 1UL << order);
    q->pending -= 1UL << order;
    spin_unlock(&q->lock);
}

/*
 * Send one more CPU to a queue: one of its node, or any other if those are all
 * there.  With the lock held, so that no CPU goes offline in between.
 */
static void queue_wake(struct scrub_queue *q)
{
    const cpumask_t *local = &node_to_cpumask(q - scrub_queue);
    unsigned int cpu, chosen = nr_cpu_ids;

    ASSERT(spin_is_locked(&q->lock));

    q->grown = 0;

    for_each_cpu ( cpu, &scrub_cpus )
    {
        if ( cpumask_test_cpu(cpu, &q->workers) )
            continue;

        /* The CPU that frees has enough to do: it comes last. */
        if ( cpumask_test_cpu(cpu, local) && cpu != smp_processor_id() )
        {
            chosen = cpu;
            break;
        }

        if ( chosen >= nr_cpu_ids || chosen == smp_processor_id() )
            chosen = cpu;
    }

    if ( chosen >= nr_cpu_ids )
        return;

    cpumask_set_cpu(chosen, &q->workers);

    /* Its timer may be set already, for another queue: sooner is no harm. */
    set_timer(&per_cpu(scrub_worker, chosen).timer, NOW() + WAKE_TIME);
}

/*
 * Put 2^@order pages of a dying domain on their queue instead of into the heap.
 * Returns false if the caller has to free them itself.
 */
static bool scrub_tasklet_defer(struct page_info *pg, unsigned int order)
{
    struct scrub_queue *q = &scrub_queue[scrub_tasklet_node(pg)];

    if ( unlikely(!scrub_tasklet_ready) )
        return false;

    spin_lock(&q->lock);

    queue_add(q, pg, order);
    q->pending += 1UL << order;
    q->grown += 1UL << order;

    if ( cpumask_empty(&q->workers) || q->grown >= WAKE_PAGES )
        queue_wake(q);

    spin_unlock(&q->lock);

    return true;
}

/* Scrub one batch of a queue. Returns false if there was none. */
static bool queue_scrub(struct scrub_queue *q)
{
    struct page_info *pg;
    unsigned int order = 0, i;

    spin_lock(&q->lock);
    pg = queue_take(q, &order);
    spin_unlock(&q->lock);

    if ( !pg )
        return false;

    for ( i = 0; i < (1U << order); i++ )
        scrub_tasklet_clear(&pg[i]);

    free_heap_pages(pg, order, false);
    queue_done(q, order);

    return true;
}

/* Leave a queue if it is empty. Returns whether this CPU has to come back. */
static bool queue_stay(struct scrub_queue *q, unsigned int cpu)
{
    bool stay;

    if ( !cpumask_test_cpu(cpu, &q->workers) )
        return false;

    spin_lock(&q->lock);
    stay = !page_list_empty(&q->list) && cpumask_test_cpu(cpu, &q->workers);
    if ( !stay )
        cpumask_clear_cpu(cpu, &q->workers);
    spin_unlock(&q->lock);

    return stay;
}

static void cf_check scrub_tasklet_work(
    typeof(((struct tasklet *)NULL)->data) unused)
{
    unsigned int node, cpu = smp_processor_id();
    struct scrub_worker *w = &this_cpu(scrub_worker);
    s_time_t start = NOW(), now = start;
    bool stay = false;

    for_each_online_node ( node )
    {
        struct scrub_queue *q = &scrub_queue[node];

        while ( cpumask_test_cpu(cpu, &q->workers) &&
                now - start < WORK_TIME && !softirq_pending(cpu) &&
                queue_scrub(q) )
            now = NOW();

        if ( queue_stay(q, cpu) )
            stay = true;
    }

    if ( !stay )
        return;

    now = NOW();
    w->resume = now + (now - start) * (100 - opt_scrub_tasklet_duty) /
                      opt_scrub_tasklet_duty;
    set_timer(&w->timer, now + PEEK_TIME);
}

/* Timer: work now if the CPU has nothing better to do, or once its guests had their share. */
static void cf_check scrub_tasklet_tick(void *unused)
{
    struct scrub_worker *w = &this_cpu(scrub_worker);

    if ( is_idle_vcpu(current) || NOW() >= w->resume )
        tasklet_schedule(&w->tasklet);
    else
        set_timer(&w->timer, w->resume);
}

/*
 * Push waiting pages into the heap unscrubbed, which is what the heap's own lazy
 * scrubbing is for.  Returns how many were pushed.
 */
static unsigned long queue_push(struct scrub_queue *q, unsigned long pages)
{
    unsigned long pushed = 0;

    while ( pushed < pages )
    {
        struct page_info *pg;
        unsigned int order = 0;

        spin_lock(&q->lock);
        pg = queue_take(q, &order);
        spin_unlock(&q->lock);

        if ( !pg )
            break;

        free_heap_pages(pg, order, true);
        queue_done(q, order);
        pushed += 1UL << order;
    }

    return pushed;
}

/*
 * Make pages available for an allocation that failed: those that wait or, where
 * there are none left, those that are being scrubbed at this very moment.
 * Returns false if there are neither.
 */
static bool scrub_tasklet_push(unsigned long pages, unsigned int memflags)
{
    unsigned long pushed = 0;
    bool in_flight = false;
    unsigned int node;

    for_each_online_node ( node )
    {
        struct scrub_queue *q = &scrub_queue[node];

        if ( (memflags & MEMF_exact_node) && node != MEMF_get_node(memflags) )
            continue;

        if ( !scrub_tasklet_node_pages(node) )
            continue;

        pushed += queue_push(q, pages - pushed);
        if ( pushed >= pages )
            return true;

        /*
         * A batch takes microseconds, and a worker takes no lock that an
         * allocation may be made with: waiting cannot deadlock.
         */
        while ( scrub_tasklet_node_pages(node) && page_list_empty(&q->list) )
        {
            in_flight = true;
            cpu_relax();
        }
    }

    return pushed || in_flight;
}

/* alloc_heap_pages(), to which memory that waits to be scrubbed is free memory. */
static struct page_info *scrub_tasklet_alloc(
    unsigned int zone_lo, unsigned int zone_hi,
    unsigned int order, unsigned int memflags,
    struct domain *d)
{
    struct page_info *pg = alloc_heap_pages(zone_lo, zone_hi, order, memflags,
                                            d);
    unsigned long step = max(1UL << order, PUSH_PAGES), budget;

    if ( likely(pg) )
        return pg;

    /* A heap of Xen's own gets nothing from a domain. */
    if ( zone_hi == MEMZONE_XEN )
        return NULL;

    /* The caller tries the lower zones next, there may be plenty. */
    if ( zone_lo > MEMZONE_XEN + 1 && !(memflags & MEMF_no_dma) )
        return NULL;

    /*
     * Enough for what waits now, so a domain which dies all the while cannot
     * keep this going.  A superpage has a fallback: a few of its size will do.
     */
    budget = scrub_tasklet_pages() + step;
    if ( order > BATCH_ORDER )
        budget = min(budget, 4 * step);

    while ( !pg && budget && scrub_tasklet_push(step, memflags) )
    {
        pg = alloc_heap_pages(zone_lo, zone_hi, order, memflags, d);
        budget -= min(budget, step);
    }

    return pg;
}

static void scrub_worker_init(unsigned int cpu)
{
    struct scrub_worker *w = &per_cpu(scrub_worker, cpu);

    init_timer(&w->timer, scrub_tasklet_tick, NULL, cpu);
    tasklet_init(&w->tasklet, scrub_tasklet_work, 0);
    w->resume = 0;
}

/* Let a CPU take part. */
static void scrub_worker_enlist(unsigned int cpu)
{
    unsigned int node;

    for_each_online_node ( node )
        spin_lock(&scrub_queue[node].lock);

    cpumask_set_cpu(cpu, &scrub_cpus);

    for_each_online_node ( node )
        spin_unlock(&scrub_queue[node].lock);
}

/* Take a CPU out and send another one to where it was expected. */
static void scrub_worker_dismiss(unsigned int cpu)
{
    struct scrub_worker *w = &per_cpu(scrub_worker, cpu);
    unsigned int node;

    for_each_online_node ( node )
        spin_lock(&scrub_queue[node].lock);

    cpumask_clear_cpu(cpu, &scrub_cpus);

    for_each_online_node ( node )
    {
        struct scrub_queue *q = &scrub_queue[node];

        cpumask_clear_cpu(cpu, &q->workers);
        if ( cpumask_empty(&q->workers) && !page_list_empty(&q->list) )
            queue_wake(q);
    }

    for_each_online_node ( node )
        spin_unlock(&scrub_queue[node].lock);

    /* A timer that is dead cannot schedule the tasklet, nor the tasklet set it. */
    kill_timer(&w->timer);
    tasklet_kill(&w->tasklet);
}

static int cf_check scrub_cpu_callback(
    struct notifier_block *nfb, unsigned long action, void *hcpu)
{
    unsigned int cpu = (unsigned long)hcpu;

    switch ( action )
    {
    case CPU_UP_PREPARE:
        scrub_worker_init(cpu);
        break;

    case CPU_DOWN_FAILED:
        scrub_worker_init(cpu);
        /* Fallthrough */
    case CPU_ONLINE:
        scrub_worker_enlist(cpu);
        break;

    case CPU_DOWN_PREPARE:
    case CPU_UP_CANCELED:
        scrub_worker_dismiss(cpu);
        break;

    default:
        break;
    }

    return NOTIFY_DONE;
}

static struct notifier_block scrub_cpu_nfb = {
    .notifier_call = scrub_cpu_callback,
};

static int __init cf_check scrub_tasklet_init(void)
{
    unsigned int node, cpu;

    if ( opt_scrub_tasklet_duty < 1 || opt_scrub_tasklet_duty > 100 )
    {
        printk(XENLOG_WARNING "scrub-tasklet-duty=%u is no percentage, using 10\n",
               opt_scrub_tasklet_duty);
        opt_scrub_tasklet_duty = 10;
    }

    for ( node = 0; node < MAX_NUMNODES; node++ )
    {
        spin_lock_init(&scrub_queue[node].lock);
        INIT_PAGE_LIST_HEAD(&scrub_queue[node].list);
    }

    for_each_online_cpu ( cpu )
    {
        scrub_worker_init(cpu);
        scrub_worker_enlist(cpu);
    }

    register_cpu_notifier(&scrub_cpu_nfb);
    scrub_tasklet_ready = true;

    return 0;
}
__initcall(scrub_tasklet_init);
