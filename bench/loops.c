/* SPDX-License-Identifier: MIT */
/* Plain loops to hold the guest's against: THREADS threads write, then read, BYTES each in turn. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST_THREADS 64
#define ROUNDS 7

static uint64_t *memory;
static size_t words_each;
static volatile uint64_t sum;
static int reading;

static void *work(void *number)
{
    uint64_t *begin = memory + (uintptr_t)number * words_each, total = 0;

    if ( reading )
    {
        for ( size_t i = 0; i < words_each; i++ )
            total += begin[i];
        sum += total;
    }
    else
        memset(begin, 0x5a, words_each * sizeof(*begin));
    return NULL;
}

static double once(int threads)
{
    struct timespec from, to;
    pthread_t started[MOST_THREADS];

    clock_gettime(CLOCK_MONOTONIC, &from);
    for ( uintptr_t i = 0; i < (uintptr_t)threads; i++ )
        pthread_create(&started[i], NULL, work, (void *)i);
    for ( int i = 0; i < threads; i++ )
        pthread_join(started[i], NULL);
    clock_gettime(CLOCK_MONOTONIC, &to);
    return (to.tv_sec - from.tv_sec) + (to.tv_nsec - from.tv_nsec) / 1e9;
}

int main(int argc, char **argv)
{
    size_t bytes = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    int threads = argc > 2 ? atoi(argv[2]) : 0;

    if ( !bytes || threads < 1 || threads > MOST_THREADS || !(memory = malloc(bytes)) )
        return 1;
    words_each = bytes / sizeof(*memory) / threads;
    once(threads); /* has the memory */
    for ( reading = 0; reading < 2; reading++ )
    {
        double best = once(threads);

        for ( int i = 1; i < ROUNDS; i++ )
        {
            double took = once(threads);

            best = took < best ? took : best;
        }
        printf("%.9f\n", best);
    }
    return 0;
}
