"""Methods: complexity measures, predictors fitted on labeled models, estimators that read unlabeled data."""
