// The parts of an image file, found without decoding them.
#ifndef GLUON_RESNET_CHUNKS_H_
#define GLUON_RESNET_CHUNKS_H_

#include <cstddef>
#include <cstdint>

namespace gluon_resnet {

// Whether the file is a lossless JPEG (SOF3), which only libjpeg-turbo 3 can decode.
bool is_lossless_jpeg(const uint8_t* bytes, size_t size);

// The EXIF orientation, 1 to 8, found anywhere in a JPEG, PNG or WebP; 1 for any other file. In a
// PNG it is the first one that is not damaged, as in libpng.
int file_orientation(const uint8_t* bytes, size_t size);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_CHUNKS_H_
