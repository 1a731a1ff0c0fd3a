"""Methods: complexity measures, predictors fitted on labelled models, estimators that read unlabeled data."""
