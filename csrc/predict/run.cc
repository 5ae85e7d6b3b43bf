#include "predict/run.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"

namespace gluon_resnet {

PredictionRun::PredictionRun(ImageSource* source, std::function<Predictor()> make_predictor,
                             size_t predictors, size_t threads)
    : source_(source),
      make_predictor_(std::move(make_predictor)),
      predictors_(predictors),
      first_(std::make_unique<Predictor>(make_predictor_())),
      batch_size_(first_->batch_size()),
      capacity_(2 * predictors * batch_size_ + threads) {
  idle_.push_back(first_.get());
  others_.reserve(predictors_ - 1);
  try {
    start(&PredictionRun::ask);
    for (size_t i = 0; i < threads; ++i) start(&PredictionRun::work);
  } catch (...) {  // no more threads are available
    stop();
    throw;
  }
}

PredictionRun::~PredictionRun() { stop(); }

void PredictionRun::stop() {
  {
    const Lock lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  source_->stop();
  for (std::thread& thread : threads_) thread.join();
}

void PredictionRun::start(void (PredictionRun::*body)()) {
  threads_.emplace_back([this, body] {
    try {
      (this->*body)();
    } catch (...) {
      const Lock lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
      stopped_ = true;
    }
    changed_.notify_all();
  });
}

std::optional<Prediction> PredictionRun::next() {
  Lock lock(mutex_);
  changed_.wait(lock, [&] {
    return failure_ || (slots_.empty() ? ended_ : slots_.front().state == State::kDone);
  });
  if (failure_) std::rethrow_exception(failure_);
  if (slots_.empty()) return std::nullopt;
  Prediction prediction = std::move(slots_.front().prediction);
  slots_.pop_front();
  lock.unlock();
  changed_.notify_all();
  return prediction;
}

void PredictionRun::ask() {
  const auto paused = [this](bool now) {
    {
      const Lock lock(mutex_);
      paused_ = now;
    }
    changed_.notify_all();
  };
  for (;;) {
    ImageName image;
    const bool more = source_->next(&image, paused);
    Lock lock(mutex_);
    changed_.wait(lock, [&] { return stopped_ || slots_.size() < capacity_; });
    ended_ = !more;
    if (stopped_ || ended_) return;
    Slot& slot = slots_.emplace_back();
    slot.prediction.name = image.name;
    slot.image = std::move(image);
    lock.unlock();
    changed_.notify_all();
  }
}

size_t PredictionRun::count(State state) const {
  return static_cast<size_t>(std::count_if(slots_.begin(), slots_.end(),
                                           [&](const Slot& slot) { return slot.state == state; }));
}

PredictionRun::Slot* PredictionRun::first(State state) {
  const auto found = std::find_if(slots_.begin(), slots_.end(),
                                  [&](const Slot& slot) { return slot.state == state; });
  return found == slots_.end() ? nullptr : &*found;
}

bool PredictionRun::can_compute() const {
  if (idle_.empty() && made_ == predictors_) return false;
  const size_t decoded = count(State::kDecoded);
  if (decoded >= batch_size_) return true;
  const bool more_may_come = count(State::kNamed) + count(State::kReading) > 0 ||
                             !(paused_ || ended_ || slots_.size() == capacity_);
  return decoded > 0 && !more_may_come;
}

void PredictionRun::work() {
  RecordBuffer buffer;
  Lock lock(mutex_);
  while (!stopped_) {
    if (can_compute()) {
      compute(&lock);
    } else if (Slot* const slot = first(State::kNamed)) {
      slot->state = State::kReading;
      lock.unlock();
      read(slot, &buffer);
      lock.lock();
      slot->state = slot->prediction.error.empty() ? State::kDecoded : State::kDone;
    } else {
      changed_.wait(lock);
      continue;
    }
    changed_.notify_all();
  }
}

void PredictionRun::read(Slot* slot, RecordBuffer* buffer) const {
  const ImageName& image = slot->image;
  Prediction& prediction = slot->prediction;
  prediction.error = image.error;
  if (!image.error.empty()) return;
  try {
    if (image.records) {
      const Record record = image.records->read(image.record, buffer);
      prediction.labels.assign(record.labels, record.labels + record.num_labels);
      slot->input.resize(first_->input_size());
      first_->preprocess(record.payload, record.payload_size, slot->input.data());
    } else {
      slot->input = first_->preprocess_file(image.name);
    }
  } catch (const Error& error) {
    prediction.error = reason(error);
    slot->input = {};
  }
}

void PredictionRun::compute(Lock* lock) {
  std::vector<Slot*> batch;
  for (Slot& slot : slots_) {
    if (slot.state != State::kDecoded || batch.size() == batch_size_) continue;
    slot.state = State::kComputing;
    batch.push_back(&slot);
  }
  Predictor* predictor = nullptr;
  if (idle_.empty()) {
    ++made_;
    lock->unlock();
    Predictor another = make_predictor_();
    lock->lock();
    predictor = &others_.emplace_back(std::move(another));
  } else {
    predictor = idle_.back();
    idle_.pop_back();
  }
  lock->unlock();

  std::vector<float> inputs;
  inputs.reserve(batch.size() * predictor->input_size());
  for (Slot* const slot : batch) {
    inputs.insert(inputs.end(), slot->input.begin(), slot->input.end());
    slot->input = {};
  }
  const std::vector<float> logits = predictor->logits(inputs);
  const size_t classes = card().classes.size();
  for (size_t i = 0; i < batch.size(); ++i) {
    const float* const row = logits.data() + i * classes;
    Prediction& prediction = batch[i]->prediction;
    if (std::all_of(row, row + classes, [](float logit) { return std::isfinite(logit); })) {
      prediction.logits.assign(row, row + classes);
    } else {
      prediction.error = "the network's outputs for it are not finite";
    }
  }

  lock->lock();
  for (Slot* const slot : batch) slot->state = State::kDone;
  idle_.push_back(predictor);
}

}  // namespace gluon_resnet
