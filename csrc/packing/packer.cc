#include "packing/packer.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <utility>

#include "base/error.h"
#include "base/regular_file.h"
#include "images/chunks.h"
#include "images/encoder.h"
#include "images/exif.h"
#include "transforms/resample.h"

namespace gluon_resnet {
namespace {

// Pictures in progress per worker: enough to continue while one large picture is late.
constexpr size_t kSlotsPerThread = 16;

// The packer whose worker a thread is. Thread ids would not do, since they are reused.
thread_local const Packer* working_for = nullptr;

[[noreturn]] void fail_picture(const std::string& reason) {
  throw Error(ErrorKind::kImage, reason);
}

// An error here is the fault of a single picture.
void read_picture(const Picture& picture, std::vector<uint8_t>* bytes) try {
  const RegularFile file(picture.path, ErrorKind::kImage);
  const uint64_t size = picture.size >= 0 ? picture.size : file.size();
  if (size > kMaxPartLength) {
    fail_picture(concat("the file has ", size, " bytes; a record holds at most ", kMaxPartLength));
  }
  bytes->resize(size);
  for (size_t have = 0; have < size;) {
    const ssize_t got = ::pread(file.descriptor(), bytes->data() + have, size - have,
                                static_cast<off_t>(picture.offset + have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_picture(concat("cannot read: ", std::strerror(errno)));
    if (got == 0) fail_picture(concat("expected ", size, " bytes, found ", have));
    have += static_cast<size_t>(got);
  }
} catch (const Error& error) {
  if (error.path.empty()) throw;
  fail_picture(error.reason());  // the failure already has the name
}

void make_gray(Image* image, Image* scratch) {
  scratch->reshape(image->width, image->height, 1);
  const cv::Mat from(image->height, image->width, CV_8UC3, image->pixels.data());
  cv::Mat to(image->height, image->width, CV_8UC1, scratch->pixels.data());
  cv::cvtColor(from, to, cv::COLOR_RGB2GRAY);
  std::swap(*image, *scratch);
}

}  // namespace

// Everything that one thread needs to make a record's payload; allocated once.
class Packer::Worker {
 public:
  explicit Worker(const Packer& packer) : packer_(packer), options_(packer.options_) {}

  // Makes slot->payload, or explains in slot->picture.problem why there is none.
  void run(Slot* slot) {
    Picture& picture = slot->picture;
    if (picture.content == Picture::Content::kNone) return;
    try {
      if (picture.content == Picture::Content::kFile) read_picture(picture, &picture.bytes);
      if (options_.pass_through && picture.content != Picture::Content::kPixels) {
        if (options_.verify) verify(picture.bytes);
        std::swap(slot->payload, picture.bytes);
      } else {
        if (picture.content == Picture::Content::kPixels) {
          std::swap(image_, picture.pixels);
          if (options_.color == Color::kGray && image_.channels == 3) make_gray(&image_, &scaled_);
        } else {
          decode(picture.bytes);
        }
        encode(shape(), &slot->payload);
      }
      const size_t size = kImageHeader + 4 * picture.labels.size() + slot->payload.size();
      if (size > kMaxPartLength) {
        fail_picture(concat("the record has ", size, " bytes; at most ", kMaxPartLength, " fit"));
      }
    } catch (const Error& error) {
      if (error.kind != ErrorKind::kImage) throw;
      picture.problem = error.what();
    }
  }

 private:
  void verify(const std::vector<uint8_t>& bytes) {
    const Format format = sniff(bytes);
    if (format == Format::kOther) {
      fail_picture(concat("expected a JPEG or PNG image, found a format that is ",
                          describe_format(bytes.data(), bytes.size()),
                          "; other formats are converted only without --pass-through"));
    }
    decoder_.open(bytes.data(), bytes.size());
    decoder_.verify();
  }

  void decode(const std::vector<uint8_t>& bytes) {
    const Format format = sniff(bytes);
    // Decoder drops the alpha channel, which belongs to "as in the source".
    const bool native =
        format == Format::kJpeg || (format == Format::kPng && options_.color != Color::kSource);
    if (native) {
      decoder_.open(bytes.data(), bytes.size());
      decoder_.decode(options_.color, &image_);
      return;
    }
    image_.reshape(0, 0, 3);
    std::string problem;
    packer_.converter_(packer_.context_, bytes.data(), bytes.size(), &image_, &problem);
    if (image_.width == 0) {
      fail_picture(concat("OpenCV cannot decode this format, which is ",
                          describe_format(bytes.data(), bytes.size()), problem.empty() ? "" : ": ",
                          problem));
    }
    // The converter leaves this to us, because what OpenCV turns depends on its version.
    const int orientation = file_orientation(bytes.data(), bytes.size());
    if (orientation == 1) return;
    make_upright(image_, orientation, &scaled_);
    std::swap(image_, scaled_);
  }

  static Format sniff(const std::vector<uint8_t>& bytes) {
    if (bytes.empty()) fail_picture("the file is empty");
    return sniff_format(bytes.data(), bytes.size());
  }

  // Crops and resizes image_ in MXNet's order and with its interpolation.
  const Image& shape() {
    ImageSize size{image_.width, image_.height};
    if (options_.center_crop) size.width = size.height = std::min(size.width, size.height);
    const int x = (image_.width - size.width) / 2;
    const int y = (image_.height - size.height) / 2;
    ImageSize target = size;
    if (options_.resize > 0) {
      target = resize_short(size, options_.resize);
      if (int64_t{target.width} * target.height > kMaxPixels) {
        fail_picture(concat("when resized, it would have ", target.width, "x", target.height,
                            " pixels; at most ", kMaxPixels, " are packed"));
      }
    }
    if (target.width == image_.width && target.height == image_.height) return image_;
    scaled_.reshape(target.width, target.height, image_.channels);
    const Region region{x, y, size.width, size.height};
    if (image_.channels == 3) {
      resize_linear(image_, region, &scratch_, &scaled_);
    } else {
      resize_region(image_, region, Interpolation::kLinear, &scaled_);
    }
    return scaled_;
  }

  void encode(const Image& image, std::vector<uint8_t>* payload) {
    if (options_.encoding == Format::kPng) {
      encoder_.png(image, options_.quality, payload);
    } else {
      encoder_.jpeg(image, options_.quality, payload);
    }
  }

  const Packer& packer_;
  const PackOptions& options_;
  Decoder decoder_;
  Encoder encoder_;
  Image image_;
  Image scaled_;
  ResampleScratch scratch_;
};

Packer::Packer(const std::string& path, const std::string& index_path, const PackOptions& options,
               Converter converter, void* context)
    : options_(options),
      converter_(converter),
      context_(context),
      writer_(path, index_path),
      slots_(kSlotsPerThread * options.threads) {
  try {
    threads_.emplace_back(&Packer::write, this);
    for (size_t i = 0; i < options_.threads; ++i) threads_.emplace_back(&Packer::work, this);
  } catch (...) {
    stop_and_join();
    throw;
  }
}

Packer::~Packer() { stop_and_join(); }

// May be called repeatedly, and by several threads at once: all return when the workers are gone.
void Packer::stop_and_join() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  work_.notify_all();
  ready_.notify_all();
  room_.notify_all();
  const std::lock_guard<std::mutex> lock(joining_);
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Packer::close() {
  if (working_for == this) {
    throw Error(ErrorKind::kUsage, "a packer cannot be closed by its own converter");
  }
  stop_and_join();
}

void Packer::fail(std::exception_ptr error) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!error_) error_ = error;
    stop_ = true;
  }
  work_.notify_all();
  ready_.notify_all();
  room_.notify_all();
}

bool Packer::submit(Picture* picture, int milliseconds) {
  {
    std::unique_lock<std::mutex> lock(mutex_);
    const bool room = room_.wait_for(lock, std::chrono::milliseconds(milliseconds), [this] {
      return stop_ || submitted_ - written_ < slots_.size();
    });
    throw_if_stopped();
    if (ended_) throw Error(ErrorKind::kUsage, "expected no picture after finish()");
    if (!room) return false;
    std::swap(slots_[submitted_ % slots_.size()].picture, *picture);
    ++submitted_;
  }
  work_.notify_one();
  return true;
}

bool Packer::finish(int milliseconds) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (!ended_) {
    ended_ = true;
    work_.notify_all();
    ready_.notify_all();
  }
  room_.wait_for(lock, std::chrono::milliseconds(milliseconds),
                 [this] { return stop_ || closed_; });
  if (!closed_) throw_if_stopped();
  return closed_;
}

void Packer::throw_if_stopped() const {
  if (error_) std::rethrow_exception(error_);
  if (stop_) throw Error(ErrorKind::kUsage, "this packer has been closed");
}

size_t Packer::done() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return written_;
}

uint64_t Packer::bytes() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return bytes_;
}

std::vector<Packer::Failure> Packer::failures() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return failures_;
}

void Packer::work() {
  working_for = this;
  try {
    Worker worker(*this);
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      work_.wait(lock, [this] { return stop_ || ended_ || taken_ < submitted_; });
      if (stop_ || taken_ == submitted_) return;
      const size_t number = taken_++;
      Slot& slot = slots_[number % slots_.size()];
      lock.unlock();
      worker.run(&slot);
      lock.lock();
      slot.ready = true;
      if (number == written_) ready_.notify_one();
    }
  } catch (...) {
    fail(std::current_exception());
  }
}

void Packer::write() {
  try {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      Slot& slot = slots_[written_ % slots_.size()];
      ready_.wait(lock, [&] { return stop_ || slot.ready || (ended_ && written_ == submitted_); });
      if (stop_) return;
      if (!slot.ready) break;
      const Picture& picture = slot.picture;
      if (picture.problem.empty()) {
        lock.unlock();
        writer_.write(picture.key, picture.labels.data(), picture.labels.size(),
                      static_cast<uint64_t>(picture.key), slot.payload.data(), slot.payload.size());
        lock.lock();
      } else {
        failures_.push_back({picture.name, picture.problem});
      }
      slot.ready = false;
      bytes_ = writer_.bytes_written();
      ++written_;
      room_.notify_one();
    }
    lock.unlock();
    writer_.close();
    lock.lock();
    closed_ = true;
    room_.notify_one();
  } catch (...) {
    fail(std::current_exception());
  }
}

}  // namespace gluon_resnet
