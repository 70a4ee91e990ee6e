/* SPDX-License-Identifier: MIT-0
 * picobnn planes kernel from lists of offsets that lie in flash. Contracts and formats stand in
 * picobnn_planes_lists.h.
 */
#include "picobnn_planes_lists.h"

void picobnn_planes_sparse(const picobnn_planes_lists_layer *layer, picobnn_planes_lists_pass *pass,
                           uint32_t blocks, uint32_t *list)
{
    (void)blocks;
    (void)list;
    pass->list = layer->lists;
    pass->count = layer->count;
    layer->core(pass);
}
