#include "augment.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <opencv2/core.hpp>

#include "error.h"

namespace gluon_resnet {
namespace {

constexpr std::array<float, 3> kLuma{0.299f, 0.587f, 0.114f};
// Of the RGB values (0 to 255) of ImageNet's training images, by Krizhevsky et al.
constexpr float kEigenvalues[3] = {55.46f, 4.794f, 1.148f};
constexpr float kEigenvectors[3][3] = {
    {-0.5675f, 0.7192f, 0.4009f}, {-0.5808f, -0.0045f, -0.8140f}, {-0.5836f, -0.6948f, 0.4203f}};

void whole_image(ImageSize size, ImageSize scaled, Geometry* geometry) {
  geometry->width = size.width;
  geometry->height = size.height;
  geometry->scaled = scaled;
}

// Ten tries, then the central region of the nearest allowed ratio, as torchvision has it.
void draw_random_resized(const TransformPlan& plan, ImageSize size, Random* random,
                         Geometry* geometry) {
  geometry->scaled = {plan.size, plan.size};
  const double area = static_cast<double>(size.width) * size.height;
  const double log_low = std::log(plan.ratio[0]);
  const double log_high = std::log(plan.ratio[1]);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double target = area * random->uniform(plan.area[0], plan.area[1]);
    const double ratio = std::exp(random->uniform(log_low, log_high));
    const int width = static_cast<int>(std::lround(std::sqrt(target * ratio)));
    const int height = static_cast<int>(std::lround(std::sqrt(target / ratio)));
    if (width < 1 || height < 1 || width > size.width || height > size.height) continue;
    geometry->width = width;
    geometry->height = height;
    geometry->x = static_cast<int>(random->integer(0, size.width - width));
    geometry->y = static_cast<int>(random->integer(0, size.height - height));
    return;
  }
  const double ratio = static_cast<double>(size.width) / size.height;
  geometry->width = size.width;
  geometry->height = size.height;
  if (ratio < plan.ratio[0]) {
    geometry->height = static_cast<int>(std::lround(size.width / plan.ratio[0]));
  } else if (ratio > plan.ratio[1]) {
    geometry->width = static_cast<int>(std::lround(size.height * plan.ratio[1]));
  }
  geometry->width = std::clamp(geometry->width, 1, size.width);
  geometry->height = std::clamp(geometry->height, 1, size.height);
  geometry->x = (size.width - geometry->width) / 2;
  geometry->y = (size.height - geometry->height) / 2;
}

// out = matrix * rgb + offset, for every pixel: colour changes and normalization in one.
struct Affine {
  std::array<std::array<float, 3>, 3> matrix{{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};
  std::array<float, 3> offset{0, 0, 0};

  bool diagonal() const {
    for (int i = 0; i < 3; ++i) {
      for (int j = 0; j < 3; ++j) {
        if (i != j && matrix[i][j] != 0) return false;
      }
    }
    return true;
  }
};

Affine make_affine(const TransformPlan& plan, const ColorDraw& color,
                   const std::array<float, 3>& image_mean) {
  Affine affine;
  float gray_mean = 0;  // of the image with its new brightness
  for (int c = 0; c < 3; ++c) gray_mean += kLuma[c] * color.brightness * image_mean[c];
  const float scale = color.brightness * color.contrast;
  const float shift = (1 - color.contrast) * gray_mean;
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) {
      affine.matrix[i][j] =
          scale * ((i == j ? color.saturation : 0) + (1 - color.saturation) * kLuma[j]);
    }
    affine.offset[i] = shift + color.offset[i];  // a gray shift is not changed by the saturation
    for (int j = 0; j < 3; ++j) affine.matrix[i][j] /= plan.std[i];
    affine.offset[i] = (affine.offset[i] - plan.mean[i]) / plan.std[i];
  }
  return affine;
}

// Row `y` of the square output as RGB, mirrored and with its padding, in `row`.
void fetch_row(const TransformPlan& plan, const Geometry& geometry, const Image& scaled, int y,
               uint8_t* row) {
  const int from_y = geometry.crop_y + y;
  const bool inside = from_y >= 0 && from_y < scaled.height;
  const int first = inside ? std::clamp(-geometry.crop_x, 0, plan.size) : plan.size;
  const int last = inside ? std::clamp(scaled.width - geometry.crop_x, first, plan.size) : first;
  const auto fill = [&](int begin, int end) {
    for (int x = begin; x < end; ++x) std::memcpy(row + 3 * x, plan.fill.data(), 3);
  };
  fill(0, first);
  if (last > first) {
    const size_t from = 3 * static_cast<size_t>(geometry.crop_x + first);
    std::memcpy(row + 3 * first, scaled.row(from_y) + from, 3 * static_cast<size_t>(last - first));
  }
  fill(last, plan.size);
  if (geometry.flip) {
    for (int a = 0, b = plan.size - 1; a < b; ++a, --b) {
      std::swap_ranges(row + 3 * a, row + 3 * a + 3, row + 3 * b);
    }
  }
}

template <typename T>
T to_element(float value);
template <>
float to_element<float>(float value) {
  return value;
}
template <>
cv::float16_t to_element<cv::float16_t>(float value) {
  return cv::float16_t(value);
}
template <>
uint8_t to_element<uint8_t>(float value) {
  return static_cast<uint8_t>(std::lrintf(std::clamp(value, 0.0f, 255.0f)));
}

// Writes one row; `step` elements lie between two pixels of a channel, `plane` between channels.
template <typename T>
void write_row(const Affine& affine, bool diagonal, const uint8_t* row, int width, size_t step,
               size_t plane, T* out) {
  for (int c = 0; c < 3; ++c) {
    const std::array<float, 3>& m = affine.matrix[c];
    const float offset = affine.offset[c];
    T* channel = out + c * plane;
    if (diagonal) {
      for (int x = 0; x < width; ++x) {
        channel[x * step] = to_element<T>(m[c] * row[3 * x + c] + offset);
      }
    } else {
      for (int x = 0; x < width; ++x) {
        const uint8_t* p = row + 3 * x;
        channel[x * step] = to_element<T>(m[0] * p[0] + m[1] * p[1] + m[2] * p[2] + offset);
      }
    }
  }
}

std::array<float, 3> mean_of(const uint8_t* pixels, size_t count) {
  uint64_t sums[3] = {0, 0, 0};
  for (size_t i = 0; i < count; ++i) {
    for (int c = 0; c < 3; ++c) sums[c] += pixels[3 * i + c];
  }
  std::array<float, 3> mean;
  for (int c = 0; c < 3; ++c) mean[c] = static_cast<float>(sums[c]) / static_cast<float>(count);
  return mean;
}

}  // namespace

Geometry draw_geometry(const TransformPlan& plan, ImageSize size, Random* random) {
  Geometry geometry;
  const int shorter = std::min(size.width, size.height);
  switch (plan.crop) {
    case Crop::kCenter: {
      const int target = plan.resize > 0 ? plan.resize : std::max(shorter, plan.size);
      whole_image(size, resize_short(size, target), &geometry);
      geometry.crop_x = (geometry.scaled.width - plan.size) / 2;
      geometry.crop_y = (geometry.scaled.height - plan.size) / 2;
      break;
    }
    case Crop::kRandomResized:
      draw_random_resized(plan, size, random, &geometry);
      break;
    case Crop::kScaleJitter: {
      const auto target = static_cast<int>(random->integer(plan.scale[0], plan.scale[1]));
      whole_image(size, resize_short(size, target), &geometry);
      geometry.crop_x = static_cast<int>(random->integer(0, geometry.scaled.width - plan.size));
      geometry.crop_y = static_cast<int>(random->integer(0, geometry.scaled.height - plan.size));
      break;
    }
    case Crop::kPad: {
      const int spare_x = size.width + 2 * plan.padding - plan.size;
      const int spare_y = size.height + 2 * plan.padding - plan.size;
      if (spare_x < 0 || spare_y < 0) {
        throw Error(ErrorKind::kImage, concat("the image of ", size.width, "x", size.height,
                                              " pixels is too small: ", "with ", plan.padding,
                                              " pixels of padding a crop of ", plan.size, "x",
                                              plan.size, " does not fit"));
      }
      whole_image(size, size, &geometry);
      geometry.crop_x = static_cast<int>(random->integer(0, spare_x)) - plan.padding;
      geometry.crop_y = static_cast<int>(random->integer(0, spare_y)) - plan.padding;
      break;
    }
  }
  // A strip of 1 x 100,000 pixels would become larger than memory.
  if (int64_t{geometry.scaled.width} * geometry.scaled.height > kMaxPixels) {
    throw Error(ErrorKind::kImage,
                concat("the image of ", size.width, "x", size.height, " pixels would be scaled to ",
                       geometry.scaled.width, "x", geometry.scaled.height));
  }
  geometry.flip = plan.flip && random->bits() >> 63 != 0;
  return geometry;
}

ColorDraw draw_color(const TransformPlan& plan, Random* random) {
  ColorDraw color;
  const auto factor = [&](float range) {
    return range > 0 ? static_cast<float>(random->uniform(1 - range, 1 + range)) : 1;
  };
  color.brightness = factor(plan.brightness);
  color.contrast = factor(plan.contrast);
  color.saturation = factor(plan.saturation);
  if (plan.pca_noise > 0) {
    for (int component = 0; component < 3; ++component) {
      const auto alpha = static_cast<float>(random->normal()) * plan.pca_noise;
      for (int c = 0; c < 3; ++c) {
        color.offset[c] += kEigenvectors[c][component] * kEigenvalues[component] * alpha;
      }
    }
  }
  return color;
}

size_t element_size(DType dtype) {
  return dtype == DType::kFloat32 ? 4 : dtype == DType::kFloat16 ? 2 : 1;
}

void apply(const TransformPlan& plan, const Geometry& geometry, const ColorDraw& color,
           const Image& image, DType dtype, Layout layout, AugmentScratch* scratch, void* out) {
  const Image* scaled = &image;
  const bool same = geometry.width == geometry.scaled.width &&
                    geometry.height == geometry.scaled.height && geometry.width == image.width &&
                    geometry.height == image.height;
  if (!same) {
    scratch->scaled.reshape(geometry.scaled.width, geometry.scaled.height, 3);
    resize_region(image, geometry.x, geometry.y, geometry.width, geometry.height,
                  plan.interpolation, &scratch->scaled);
    scaled = &scratch->scaled;
  }

  const auto size = static_cast<size_t>(plan.size);
  scratch->square.resize(3 * size * size);
  for (int y = 0; y < plan.size; ++y) {
    fetch_row(plan, geometry, *scaled, y, scratch->square.data() + 3 * size * y);
  }
  std::array<float, 3> mean{0, 0, 0};
  if (color.contrast != 1) mean = mean_of(scratch->square.data(), size * size);
  const Affine affine = make_affine(plan, color, mean);
  const bool diagonal = affine.diagonal();

  const size_t step = layout == Layout::kNchw ? 1 : 3;
  const size_t plane = layout == Layout::kNchw ? size * size : 1;
  const auto write = [&](auto* elements) {
    for (size_t y = 0; y < size; ++y) {
      write_row(affine, diagonal, scratch->square.data() + 3 * size * y, plan.size, step, plane,
                elements + y * size * step);
    }
  };
  switch (dtype) {
    case DType::kUint8:
      write(static_cast<uint8_t*>(out));
      break;
    case DType::kFloat16:
      write(static_cast<cv::float16_t*>(out));
      break;
    case DType::kFloat32:
      write(static_cast<float*>(out));
      break;
  }
}

}  // namespace gluon_resnet
