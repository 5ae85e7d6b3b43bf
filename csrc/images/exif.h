// EXIF orientation: how a stored image has to be turned, from 1 (not at all) to 8.
#ifndef GLUON_RESNET_EXIF_H_
#define GLUON_RESNET_EXIF_H_

#include <cstddef>
#include <cstdint>

#include "images/image.h"

namespace gluon_resnet {

// The orientation in EXIF data that starts with a TIFF header; 1 if it has none.
int exif_orientation(const uint8_t* tiff, size_t size);

// Whether the orientation exchanges width and height.
inline bool turns(int orientation) { return orientation >= 5; }

void make_upright(const Image& source, int orientation, Image* target);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_EXIF_H_
