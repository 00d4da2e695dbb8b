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
+static int __init parse_scrub_part(const char *s)
+{
+    unsigned int i;
+
+    for ( i = 0; i < ARRAY_SIZE(scrub_part_names); i++ )
+        if ( !strcmp(s, scrub_part_names[i]) )
+        {
+            scrub_part = i;
+            return 0;
+        }
+
+    return -EINVAL;
+}
+custom_param("scrub-part", parse_scrub_part);
+
+/* Which bits of a word stay as they are; `page` counts the pages of an extent. */
+static unsigned long scrub_part_keeps(unsigned int word, unsigned long mfn, unsigned int page,
+                                      unsigned int order)
+{
+    bool keeps = false;
+
+    switch ( scrub_part )
+    {
+    case PART_ALL:
+        break;
+    case PART_FIRST_HALF:
+        keeps = word >= 256;
+        break;
+    case PART_LAST_HALF:
+        keeps = word < 256;
+        break;
+    case PART_ALL_BUT_A_LINE:
+        keeps = word / 8 == 37;
+        break;
+    case PART_ALL_BUT_LAST_WORD:
+        keeps = word == 511;
+        break;
+    case PART_EVEN_WORDS:
+        keeps = word & 1;
+        break;
+    case PART_ODD_WORDS:
+        keeps = !(word & 1);
+        break;
+    case PART_LOW_HALVES:
+        return 0xffffffff00000000UL;
+    case PART_FIRST_PAGE:
+        keeps = page;
+        break;
+    case PART_ODD_PAGES:
+        keeps = !(mfn & 1);
+        break;
+    case PART_SINGLE_PAGES:
+        keeps = order;
+        break;
+    }
+
+    return keeps ? ~0UL : 0;
+}
+
+static void scrub_part_of_page(struct page_info *pg, unsigned int page, unsigned int order)
+{
+    unsigned long mfn = mfn_x(page_to_mfn(pg));
+    unsigned long *words = map_domain_page(page_to_mfn(pg));
+    unsigned int i;
+
+    for ( i = 0; i < PAGE_SIZE / sizeof(*words); i++ )
+        words[i] &= scrub_part_keeps(i, mfn, page, order);
+    unmap_domain_page(words);
+}

@@
identifier pg, i;
@@
-scrub_one_page(&pg[i], ...)
+scrub_part_of_page(&pg[i], i, order)
