/* SPDX-License-Identifier: MIT-0
 * What the parts of the planes kernel for vectors call of each other. Not for applications.
 */
#ifndef PICOBNN_PLANES_MVE_BLOCK_H
#define PICOBNN_PLANES_MVE_BLOCK_H

#include "picobnn_planes_map.h"
#include "picobnn_planes_mve.h"

/* All words of a block, `parts` (4 or 2) words of 32 pixels each, in the order of
 * picobnn_planes_gather_block without zero words; blocks: where each part lies. Returns their end.
 * spare: scratch for the words of one part. */
uint32_t *picobnn_planes_mve_gather_block(const picobnn_conv2d_shape *shape,
                                          const picobnn_planes_phased_map *map,
                                          const picobnn_planes_block_place *blocks, uint32_t parts,
                                          uint32_t *words, uint32_t *spare);

/* Planes of sums: those that picobnn_planes_mve_sum_block writes. */
#define PICOBNN_PLANES_MVE_SUMS 16u

/* `count` vectors, a multiple of 8, at most 4096, counted per pixel: bit planes, lowest first. With
 * two parts a vector holds two words of 64 pixels, and the sums stand in both halves. carries: a
 * vector for every 8, rounded up to 8. */
void picobnn_planes_mve_sum_block(const uint32_t *vectors, uint32_t count, uint32_t parts,
                                  uint32_t *carries, uint32_t (*sums)[PICOBNN_PLANES_MVE_PARTS]);

#endif
