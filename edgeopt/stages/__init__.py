"""The stages of a recipe, bound to artifacts.

Every function here reads artifacts (folders), calls the public function of a stage and returns its facts as JSON; the stage
packages know nothing of recipes, stores and each other.
"""
