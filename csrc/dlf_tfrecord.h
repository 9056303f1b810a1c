/* SPDX-License-Identifier: Apache-2.0
 *
 * Samples out of TFRecord files, each a tf.train.Example.
 *
 * Where a file's size allows that its records are of one length, which is how DLIO
 * makes them, that is tried first, and found wrong as soon as a record does not
 * begin where it should.  Only then are the records looked up, in the file's index or
 * from header to header, and remembered.  Neighbours are read together, in blocks
 * that stay in cache until they are copied to the batch.  A record's header is
 * always checked, its data where the plan says so.
 *
 * A file that is compressed as a whole is unpacked whole; with a cache, once.
 */
#ifndef DLF_TFRECORD_H
#define DLF_TFRECORD_H

#include "dlf_task.h"

extern const dlf_container dlf_tfrecord_container;

#endif
