// What the parts of an image's file are, found without decoding any.
#ifndef GLUON_RESNET_CHUNKS_H_
#define GLUON_RESNET_CHUNKS_H_

#include <cstddef>
#include <cstdint>

namespace gluon_resnet {

// Whether the file is a JPEG of the process that only libjpeg-turbo 3 knows (SOF3).
bool is_lossless_jpeg(const uint8_t* bytes, size_t size);

// The EXIF orientation, 1 to 8, that a JPEG, a PNG or a WebP has anywhere; 1 of any other file. Of
// a PNG's it is the first that is not damaged, as in libpng.
int file_orientation(const uint8_t* bytes, size_t size);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_CHUNKS_H_
