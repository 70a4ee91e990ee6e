/* SPDX-License-Identifier: MIT-0 */
/* Firmware that serves one model over the serial port. A product replaces this file and drops
 * harness/. */
#include "picobnn_harness.h"

int main(void)
{
    picobnn_harness_serve();
    return 0;
}
