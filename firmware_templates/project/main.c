/* SPDX-License-Identifier: MIT-0 */
/* Firmware that serves one model over the serial port. A product has its own main, and needs
 * neither this file nor harness/: make HARNESS=0 MAIN=app.c */
#include "picobnn_harness.h"

int main(void)
{
    picobnn_harness_serve();
    return 0;
}
