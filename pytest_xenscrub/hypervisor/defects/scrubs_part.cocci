// SPDX-License-Identifier: GPL-2.0-only
// Broken hypervisors: whoever scrubs free memory, an idle CPU or an allocation, scrubs a part of
// it. Xen's boot option scrub-part=NAME says which part; without it all is scrubbed.

@@
declarer name custom_param;
@@
 static unsigned long node_need_scrub[MAX_NUMNODES];
+
+enum scrub_part {
+    PART_ALL,
+    PART_FIRST_HALF,
+    PART_LAST_HALF,
+    PART_ALL_BUT_A_LINE,
+    PART_ALL_BUT_LAST_WORD,
+    PART_EVEN_WORDS,
+    PART_ODD_WORDS,
+    PART_LOW_HALVES,
+    PART_FIRST_PAGE,
+    PART_ODD_PAGES,
+    PART_SINGLE_PAGES,
+};
+
+static const char *scrub_part_names[] = {
+    [PART_ALL] = "all",
+    [PART_FIRST_HALF] = "first-half",
+    [PART_LAST_HALF] = "last-half",
+    [PART_ALL_BUT_A_LINE] = "all-but-a-line",
+    [PART_ALL_BUT_LAST_WORD] = "all-but-last-word",
+    [PART_EVEN_WORDS] = "even-words",
+    [PART_ODD_WORDS] = "odd-words",
+    [PART_LOW_HALVES] = "low-halves",
+    [PART_FIRST_PAGE] = "first-page",
+    [PART_ODD_PAGES] = "odd-pages",
+    [PART_SINGLE_PAGES] = "single-pages",
+};
+
+static enum scrub_part scrub_part = PART_ALL;
+
+/* Which bits of each word of a page stay as they are. */
+static unsigned long scrub_keeps[PAGE_SIZE / sizeof(long)];
+
+static unsigned long __init word_keeps(unsigned int word)
+{
+    bool keeps = false;
+
+    switch ( scrub_part )
+    {
+    case PART_FIRST_HALF:
+        keeps = word >= ARRAY_SIZE(scrub_keeps) / 2;
+        break;
+    case PART_LAST_HALF:
+        keeps = word < ARRAY_SIZE(scrub_keeps) / 2;
+        break;
+    case PART_ALL_BUT_A_LINE:
+        keeps = word / 8 == 37;
+        break;
+    case PART_ALL_BUT_LAST_WORD:
+        keeps = word == ARRAY_SIZE(scrub_keeps) - 1;
+        break;
+    case PART_EVEN_WORDS:
+        keeps = word & 1;
+        break;
+    case PART_ODD_WORDS:
+        keeps = !(word & 1);
+        break;
+    case PART_LOW_HALVES:
+        return 0xffffffff00000000UL;
+    default:
+        break;
+    }
+
+    return keeps ? ~0UL : 0;
+}
+
+static int __init parse_scrub_part(const char *s)
+{
+    unsigned int i;
+
+    for ( i = 0; i < ARRAY_SIZE(scrub_part_names); i++ )
+        if ( !strcmp(s, scrub_part_names[i]) )
+            break;
+    if ( i == ARRAY_SIZE(scrub_part_names) )
+        return -EINVAL;
+
+    scrub_part = i;
+    for ( i = 0; i < ARRAY_SIZE(scrub_keeps); i++ )
+        scrub_keeps[i] = word_keeps(i);
+
+    return 0;
+}
+custom_param("scrub-part", parse_scrub_part);
+
+/* Is this page, one of an extent of that order, left out? */
+static bool scrub_leaves(unsigned long mfn, unsigned int page, unsigned int order)
+{
+    switch ( scrub_part )
+    {
+    case PART_FIRST_PAGE:
+        return page;
+    case PART_ODD_PAGES:
+        return !(mfn & 1);
+    case PART_SINGLE_PAGES:
+        return order;
+    default:
+        return false;
+    }
+}
+
+static void scrub_part_of_page(struct page_info *pg, unsigned int page, unsigned int order)
+{
+    unsigned long *words;
+    unsigned int i;
+
+    if ( scrub_leaves(mfn_x(page_to_mfn(pg)), page, order) )
+        return;
+    words = map_domain_page(page_to_mfn(pg));
+    for ( i = 0; i < ARRAY_SIZE(scrub_keeps); i++ )
+        words[i] &= scrub_keeps[i];
+    unmap_domain_page(words);
+}

@@
identifier pg, i;
@@
-scrub_one_page(&pg[i], ...)
+scrub_part_of_page(&pg[i], i, order)
