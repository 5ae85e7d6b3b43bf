// The single geometric pass: scaling, cropping and mirroring of an image or a part of one.
#ifndef GLUON_RESNET_RESAMPLE_H_
#define GLUON_RESNET_RESAMPLE_H_

#include <array>
#include <cstdint>
#include <vector>

#include "images/image.h"
#include "transforms/rows.h"

namespace gluon_resnet {

// `source`, a region of the upright image, is scaled to `scaled`; the square of `size` whose corner
// is (crop_x, crop_y) is cut out of that, and mirrored left to right if `flip` is set. Pixels
// outside the scaled region are filled.
struct Geometry {
  Region source;
  ImageSize scaled;
  int crop_x = 0;
  int crop_y = 0;
  int size = 0;
  bool flip = false;
};

// The part of the upright image that resample() reads; it has at least one pixel.
Region footprint(const Geometry& geometry, Interpolation interpolation);

// Memory kept between calls; one per thread.
struct ResampleScratch {
  std::vector<Tap> columns;
  std::vector<Tap> rows;
  std::array<std::vector<int16_t>, 2> lines;
  std::array<int, 2> line_rows;
  Image scaled;
};

// Writes the square as three planes, R, G and B, of size * size bytes. `image` is RGB and holds at
// least the footprint; its first pixel is (x, y) of the upright image. The pixels are those of
// OpenCV's resize of the whole region, bit for bit: kLinear is computed here in the same
// arithmetic, for the pixels needed, and the other kinds by OpenCV.
void resample(const Geometry& geometry, Interpolation interpolation, const ImageView& image, int x,
              int y, const std::array<uint8_t, 3>& fill, ResampleScratch* scratch, uint8_t* planes);

// OpenCV's linear resize, bit for bit, of a region of an RGB image to the size of `target`, which
// is already set.
void resize_linear(const Image& source, const Region& region, ResampleScratch* scratch,
                   Image* target);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_RESAMPLE_H_
