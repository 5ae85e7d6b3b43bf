// The transforms of an image on its way to the network: random parameters are turned into one
// geometry for resample.h, and colors and normalization into one affine map.
#ifndef GLUON_RESNET_AUGMENT_H_
#define GLUON_RESNET_AUGMENT_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/random.h"
#include "images/image.h"
#include "transforms/resample.h"

namespace gluon_resnet {

enum class Crop {
  kCenter,         // shorter side to `resize`, centre crop: the evaluation transform
  kRandomResized,  // a region of random area and aspect ratio, scaled to the output (Inception)
  kScaleJitter,    // shorter side drawn from [scale_low, scale_high], random crop (He et al., 3.4)
  kPad             // `padding` pixels on each side, random crop (He et al., 4.2)
};
enum class DType { kUint8, kFloat16, kFloat32 };
enum class Layout { kNchw, kNhwc };

// A complete description of a transform, as plain data; the same for all records.
struct TransformPlan {
  Crop crop = Crop::kCenter;
  int size = 224;                         // side of the square output
  int resize = 256;                       // kCenter; 0 keeps the image's size
  std::array<double, 2> area{0.08, 1.0};  // kRandomResized, as a fraction of the image's area
  std::array<double, 2> ratio{0.75, 4. / 3};
  std::array<int, 2> scale{256, 480};    // kScaleJitter
  int padding = 4;                       // kPad
  std::array<uint8_t, 3> fill{0, 0, 0};  // color of the padding
  bool flip = false;                     // left to right, for every second record
  float brightness = 0;                  // factors from [1 - b, 1 + b], in this order
  float contrast = 0;
  float saturation = 0;
  float pca_noise = 0;  // standard deviation (Krizhevsky et al. 2012, 4.1)
  Interpolation interpolation = Interpolation::kLinear;
  std::array<float, 3> mean{0, 0, 0};  // subtracted from RGB values of 0 to 255
  std::array<float, 3> std{1, 1, 1};   // and divided by
};

struct ColorDraw {
  float brightness = 1, contrast = 1, saturation = 1;
  std::array<float, 3> offset{0, 0, 0};  // the PCA noise, in RGB values of 0 to 255
};

// Throws Error(kImage) if the output cannot be made from an image of this size.
Geometry draw_geometry(const TransformPlan& plan, ImageSize size, Random* random);
ColorDraw draw_color(const TransformPlan& plan, Random* random);

size_t element_size(DType dtype);

// Makes the network's input from three planes, R, G and B, of size * size bytes: applies colors,
// normalization, dtype and layout. uint8 values are rounded and clipped to 0 to 255; floating-point
// values are not clipped.
void finish(const TransformPlan& plan, const ColorDraw& color, const uint8_t* planes, DType dtype,
            Layout layout, void* out);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_AUGMENT_H_
